// The page of logs: up to a hundred thousand lines of which a screenful are elements, followed as they are written.
//
// In: pages of lines and a stream, from the portal. Out: rows, whose text is never markup and cannot turn the direction
// of what stands beside it. A tab has a stream of its own only while it can be seen, and a browser three at most: the
// stream that all tabs share would have to carry every line to every one of them.
"use strict";
(() => {
  const page = document.getElementById("logs");
  if (!page) return;
  const MOST = 100_000, FIRST = 1000, PAGE = 5000, ROW = 20, AROUND = 12, STREAMS = 3, STALE_MS = 25_000;
  const part = (name) => document.getElementById(`log-${name}`);
  const [view, space, rows, older, pause, newest] = ["view", "space", "rows", "older", "pause", "newest"].map(part);
  const { base, query, alone } = page.dataset;
  const lines = []; // the oldest first
  let backTo = ""; // there are older ones, before this moment
  let next = ""; // the moment from which the stream goes on
  let paused = false, stick = true, loading = false, chosen = null, drawn = 0;
  let held = []; // what came while it was paused
  const silent = new Map();

  // ---- text

  const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const COLOURS = /\x1b\[[0-9;]*m/g;
  const visible = (text) => String(text).replace(COLOURS, "").replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const near = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
  const far = new Intl.DateTimeFormat(undefined, { month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const brief = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const after = (at) => { // a nanosecond later
    const [second, rest] = at.split(".");
    const ns = Number(rest.slice(0, 9)) + 1;
    if (ns < 1e9) return `${second}.${String(ns).padStart(9, "0")}Z`;
    return new Date(Date.parse(`${second}Z`) + 1000).toISOString();
  };

  // ---- rows: as many elements as can be seen, used again and again

  const pool = [];
  function row(at) {
    if (pool[at]) return pool[at];
    const item = document.createElement("li");
    const parts = ["at", "who", "level", "said", "rest"].map((name) => {
      const one = document.createElement("span");
      one.className = name;
      item.append(one);
      return one;
    });
    pool[at] = { item, parts };
    return pool[at];
  }

  function fill({ item, parts }, line, number) {
    item.dataset.at = number;
    item.toggleAttribute("aria-current", line === chosen);
    const [at, who, level, said, rest] = parts;
    if (line.gap) {
      item.className = "gap";
      delete item.dataset.level;
      for (const one of parts) one.textContent = "";
      said.textContent = line.gap;
      return;
    }
    item.className = "";
    item.dataset.level = line.level ?? "";
    const moment = new Date(line.at.slice(0, 23) + "Z");
    at.textContent = (Date.now() - moment.getTime() < 43_200_000 ? near : far).format(moment);
    at.title = line.at;
    who.hidden = Boolean(alone);
    who.textContent = line.instance;
    level.textContent = line.level ?? "";
    const text = visible(line.message ?? line.text);
    said.textContent = text.length > 2000 ? `${text.slice(0, 2000)} ...` : text;
    rest.textContent = line.fields ? visible(Object.entries(line.fields).slice(0, 20).map(([k, v]) => `${k}=${brief(v)}`).join(" ")).slice(0, 1000) : "";
  }

  let asked = false;
  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      space.style.height = `${lines.length * ROW}px`;
      if (stick) view.scrollTop = lines.length * ROW;
      const first = Math.max(0, Math.floor(view.scrollTop / ROW) - AROUND);
      const last = Math.min(lines.length, Math.ceil((view.scrollTop + view.clientHeight) / ROW) + AROUND);
      rows.style.transform = `translateY(${first * ROW}px)`;
      const count = Math.max(0, last - first);
      for (let at = 0; at < count; at++) fill(row(at), lines[first + at], first + at);
      if (count !== drawn) {
        rows.replaceChildren(...pool.slice(0, count).map(({ item }) => item));
        drawn = count;
      }
      newest.hidden = stick || !lines.length;
      part("none").hidden = lines.length > 0 || loading;
      view.hidden = !part("none").hidden;
      older.hidden = !backTo || lines.length >= MOST;
      const more = backTo ? (lines.length >= MOST ? ", older ones are there: narrow the search" : ", older ones are there") : "";
      const wait = held.length ? `, ${held.length.toLocaleString()} more wait` : "";
      part("count").textContent = lines.length ? `${lines.length.toLocaleString()} lines${more}${wait}` : "";
    });
  }

  function add(some) {
    if (paused) {
      held.push(...some);
      if (held.length > MOST) held.splice(0, held.length - MOST);
      draw();
      return;
    }
    for (const one of some) lines.push(one);
    const over = lines.length - MOST;
    if (over > 0) { // a tenth at once: what is cut off in front moves all that is behind
      const cut = Math.max(over, MOST / 10);
      lines.splice(0, cut);
      backTo = lines.find((line) => line.at)?.at ?? backTo;
      if (!stick) view.scrollTop = Math.max(0, view.scrollTop - cut * ROW);
    }
    draw();
  }

  // ---- pages of what there is

  async function ask(more) {
    const answer = await fetch(`${base}/lines?${query}&${new URLSearchParams(more)}`, { redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); throw new Error("signed out"); }
    if (!(answer.headers.get("content-type") ?? "").startsWith("application/json")) throw new Error(`control answers ${answer.status}`);
    const told = await answer.json();
    for (const one of told.silent) silent.set(one.host, one.message);
    return told;
  }

  async function back(limit) {
    if (loading || (lines.length && !backTo) || lines.length >= MOST) return;
    loading = true;
    try {
      const told = await ask(backTo ? { until: backTo, limit } : { limit });
      const found = told.lines.reverse();
      const top = view.scrollTop;
      lines.unshift(...found);
      if (!stick) view.scrollTop = top + found.length * ROW;
      backTo = told.cut ? told.back_to ?? "" : "";
    } catch (error) {
      state("bad", `Lines are not to be had now: ${error.message}`);
      throw error;
    } finally {
      loading = false;
      missing();
      draw();
    }
  }

  function missing() {
    const note = part("silent");
    const away = [...silent].filter(([, why]) => why);
    note.hidden = !away.length;
    // each reason with all whose it is
    const why = new Map();
    for (const [host, reason] of away) why.set(reason, [...(why.get(reason) ?? []), host]);
    note.textContent = [...why].map(([reason, hosts]) => `Lines of ${hosts.sort().join(", ")} are not here: ${hosts.length > 1 ? "of each, " : ""}${reason}.`).join(" ");
  }

  // ---- the stream

  const state = (kind, text) => {
    const shown = part("state");
    shown.dataset.state = kind;
    if (shown.textContent !== text) shown.textContent = text;
  };
  let source = null, retry = 500, again = 0, heard = 0, release = null, waiting = null, begun = false;

  function listen() {
    clearTimeout(again);
    source?.close();
    if (!begun || document.hidden || !release) return;
    const given = new URLSearchParams(query);
    given.delete("since");
    if (next) given.set("since", next);
    const own = new EventSource(`${base}/stream?${given}`);
    source = own;
    const life = () => { heard = Date.now(); retry = 500; tell(); };
    own.addEventListener("alive", life);
    own.addEventListener("lines", (event) => {
      life();
      const told = JSON.parse(event.data);
      for (const one of told.silent) silent.set(one.host, one.message);
      if (told.silent.length) missing();
      const gaps = told.skipped.map((one) => ({ gap: `... ${one.bytes.toLocaleString()} bytes of ${one.instance} passed over: more is written than can be shown` }));
      if (told.lines.length) next = after(told.lines[told.lines.length - 1].at);
      if (gaps.length || told.lines.length) add([...gaps, ...told.lines]);
    });
    own.addEventListener("ended", () => location.reload());
    own.onerror = () => {
      if (source !== own) return;
      own.close();
      // perhaps the session is over, which any page finds out
      fetch("/portal/session", { redirect: "manual" }).then((answer) => {
        if (answer.type === "opaqueredirect" || answer.status === 401) location.reload();
      }).catch(() => {});
      later();
    };
  }

  function later() {
    retry = Math.min(retry * 2, 15_000);
    clearTimeout(again);
    again = setTimeout(listen, retry);
  }

  const tell = () => {
    if (!begun) return;
    if (!release) state("", `Not live: ${STREAMS} other tabs follow logs already`);
    else if (!heard) state("", "Connecting");
    else if (Date.now() - heard > STALE_MS) state("bad", `Not live: last heard of ${Math.round((Date.now() - heard) / 1000)} s ago`);
    else state(paused ? "" : "live", paused ? "Paused" : "Live");
  };
  setInterval(tell, 1000);

  // a place among the few streams of this browser; without locks there are no other tabs to know of
  const place = (name, options) => new Promise((done) => {
    navigator.locks.request(name, options, (lock) => {
      done(Boolean(lock));
      return lock && new Promise((end) => { release = end; });
    }).catch(() => done(false));
  });

  async function begin() {
    if (document.hidden || release || waiting) return;
    if (!navigator.locks) { release = () => {}; listen(); return; }
    waiting = new AbortController();
    const own = waiting;
    for (let number = 0; number < STREAMS && !release; number++) await place(`anypop-logs-${number}`, { ifAvailable: true });
    if (!release && !own.signal.aborted) { tell(); await place("anypop-logs-0", { signal: own.signal }); }
    if (waiting === own) waiting = null;
    if (own.signal.aborted) { release?.(); release = null; return; }
    listen();
  }

  function rest() {
    waiting?.abort();
    waiting = null;
    clearTimeout(again);
    source?.close();
    source = null;
    release?.();
    release = null;
    heard = 0;
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) rest(); else begin(); });
  addEventListener("pagehide", rest);
  addEventListener("pageshow", begin);

  // ---- what a reader does

  view.addEventListener("scroll", () => {
    stick = view.scrollTop + view.clientHeight >= lines.length * ROW - ROW;
    if (view.scrollTop < 40 * ROW && backTo && begun && !stick) back(PAGE).catch(() => {});
    draw();
  }, { passive: true });
  new ResizeObserver(draw).observe(view);
  newest.addEventListener("click", () => { stick = true; draw(); view.focus(); });
  older.addEventListener("click", () => { stick = false; view.scrollTop = 0; back(PAGE).catch(() => {}); });
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    const came = held;
    held = [];
    if (!paused) add(came);
    tell();
    draw();
  });

  function choose(number) {
    if (!lines[number] || lines[number].gap) return;
    chosen = lines[number];
    const { text, fields, ...known } = chosen;
    const list = document.createElement("dl");
    const all = [...Object.entries(known), ...Object.entries(fields ?? {}), ["line", text]];
    for (const [name, value] of all) {
      const term = document.createElement("dt"), said = document.createElement("dd");
      term.textContent = visible(name);
      said.textContent = visible(brief(value)).replaceAll("\\u000a", "\n");
      list.append(term, said);
    }
    const copy = document.createElement("button"), close = document.createElement("button");
    copy.textContent = "Copy the line";
    copy.dataset.copy = text;
    close.textContent = "Close";
    close.className = "plain";
    close.addEventListener("click", () => { chosen = null; part("one").hidden = true; draw(); view.focus(); });
    part("one").replaceChildren(list, copy, close);
    part("one").hidden = false;
    draw();
  }
  rows.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item && !String(getSelection())) choose(Number(item.dataset.at));
  });
  view.addEventListener("keydown", (event) => {
    const at = lines.indexOf(chosen);
    if (event.key === "Enter") choose(at < 0 ? Math.min(lines.length - 1, Math.floor((view.scrollTop + view.clientHeight - 1) / ROW)) : at);
    else if (event.key === "End") stick = true;
    else if (event.key === "ArrowDown" && at >= 0) choose(at + 1);
    else if (event.key === "ArrowUp" && at >= 0) choose(at - 1);
    else return;
    if (event.key.startsWith("Arrow")) event.preventDefault();
    draw();
  });

  // ---- begin: what there is, and then what comes

  const first = () => back(FIRST).then(() => {
    begun = true;
    next = lines.length ? after(lines[lines.length - 1].at) : "10s";
    tell();
    begin();
    listen();
  }).catch(() => { again = setTimeout(first, retry = Math.min(retry * 2, 15_000)); });
  // for tests and benchmarks: all there is, up to the limit
  page.addEventListener("load-all", async () => { while (backTo && lines.length < MOST) await back(PAGE); page.dispatchEvent(new Event("loaded-all")); });
  first();
})();
