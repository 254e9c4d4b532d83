// The portal's own script: what is on the screen as it changes, times in the reader's zone, copying, the map, dialogs.
// What may be done is the server's to say; without this script every page still shows what was so when it was loaded.
"use strict";
(() => {
  const each = (selector, act, within = document) => within.querySelectorAll(selector).forEach(act);
  const say = (text) => { document.getElementById("voice").textContent = text; };

  // ---- times: in the reader's zone, UTC on hover

  // by hand: what the browser needs for dates in a language (Intl) takes it longer than the rest of the page
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (n) => String(n).padStart(2, "0");
  const near = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const far = (at) => `${at.getDate()} ${MONTHS[at.getMonth()]} ${at.getFullYear()}, ${two(at.getHours())}:${two(at.getMinutes())}`;

  function tellTimes(within) {
    each("time[datetime]", (element) => {
      const text = element.getAttribute("datetime");
      const at = new Date(element.hasAttribute("data-epoch") ? Number(text) * 1000 : text);
      if (Number.isNaN(at.getTime())) return;
      const shown = (Math.abs(Date.now() - at.getTime()) < 43_200_000 ? near : far)(at);
      if (element.textContent !== shown) element.textContent = shown;
      element.title = at.toISOString().replace("T", " ").replace(/\..*/, " UTC");
    }, within);
  }

  // ---- clicks, by what was clicked: a policy without inline scripts leaves no other place for them

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      say("The browser does not let this page copy");
      return;
    }
    button.classList.add("done");
    say("Copied");
    setTimeout(() => button.classList.remove("done"), 1500);
  }

  function open(button) {
    const dialog = document.getElementById(button.dataset.dialog);
    each("[data-fill]", (element) => {
      const value = button.dataset[element.dataset.fill];
      if (element.tagName === "INPUT") element.value = value;
      else if (element.tagName === "A") element.href = element.dataset.base + encodeURIComponent(value);
      else element.textContent = value;
    }, dialog);
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const button = target?.closest("[data-copy], [data-dialog]");
    if (button?.dataset.copy !== undefined) copy(button);
    else if (button) open(button);
    const city = target?.closest(".map") && cityAt(target.closest(".map"), event);
    if (city) document.querySelector(`input[name="city"][value="${CSS.escape(city)}"]`)?.click();
    each("details.menu[open]", (menu) => { if (!menu.contains(target)) menu.open = false; });
  });

  // cities stand closer than fingers are wide: the nearest is meant
  function cityAt(map, event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    let found = "", best = 28;
    each("[data-city] .dot", (dot) => {
      const away = Math.hypot(dot.cx.baseVal.value - at.x, dot.cy.baseVal.value - at.y);
      if (away < best) [found, best] = [dot.parentNode.dataset.city, away];
    }, map);
    return found;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") each("details.menu[open]", (menu) => { menu.open = false; menu.querySelector("summary").focus(); });
  });

  document.addEventListener("change", (event) => {
    if (event.target.name === "city") showCities();
  });

  // A look that was on its way when a plan was asked for would take its place: it says nothing that the plan's answer does not.
  let planned = "";
  document.addEventListener("htmx:config:request", (event) => {
    const { request, sourceElement } = event.detail.ctx;
    if (!sourceElement.closest("#create") || sourceElement.id === "landings-asked") return;
    const said = new URLSearchParams(request.body);
    said.delete("as");
    if (sourceElement.id === "plan-button") planned = said.toString();
    else if (said.toString() === planned) event.preventDefault();
    else planned = "";
  });
  document.addEventListener("htmx:error", () => { planned = ""; });

  // a plan is of what the form said then
  document.addEventListener("input", (event) => {
    if (event.target.name === "as") return;
    const plan = event.target.closest("[data-planned]")?.querySelector("#plan");
    if (plan?.childElementCount) {
      plan.replaceChildren();
      say("The form has changed: plan it again");
    }
  });

  function showCities() {
    each('input[name="city"]', (box) => {
      document.querySelector(`[data-city="${CSS.escape(box.value)}"]`)?.classList.toggle("on", box.checked);
    });
  }

  // traffic as the size of a PoP's disc: the table of PoPs is asked for it, the picture is drawn anew without it
  function sizeFlows() {
    each("[data-flow-of]", (row) => document.querySelector(`[data-flow="${CSS.escape(row.dataset.flowOf)}"]`)?.setAttribute("r", row.dataset.flowR));
  }

  document.addEventListener("htmx:error", () => say("Control does not answer. What is on the screen may be old."));

  // ---- live: one stream for this browser, whichever of its tabs holds it
  //
  // Tabs that can be seen ask for a lock; who has it holds the stream and passes on what comes. A browser has but six
  // connections to one place on HTTP/1.1: with a stream for each tab the seventh would hang. A tab that is hidden gives
  // the lock away, so nothing is open while nobody looks.

  const STALE_MS = 20_000; // two signs of life were missed
  const tab = Math.random().toString(36).slice(2);
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("anypop-live") : null;
  const own = () => [...new Set([...document.querySelectorAll("[data-topic]")].map((element) => element.dataset.topic))];
  let heard = Date.now();
  let leader = null; // what this tab holds while it has the lock
  let waiting = null; // to give up asking for the lock

  function show(topic, html) {
    each(`[data-topic="${CSS.escape(topic)}"]`, (element) => {
      const before = element.querySelector("[data-revision]")?.dataset.revision;
      const row = element.tagName === "TR";
      // cells are no document of their own
      htmx.swap({ target: element, sourceElement: element, text: row ? `<table><tr>${html}</tr></table>` : html, select: row ? "td" : undefined, swap: "innerMorph" })
        .then(() => {
          tellTimes(element);
          sizeFlows();
          if (element.querySelector("[data-gone]")) return; // there is nothing more to ask for
          const after = element.querySelector("[data-revision]")?.dataset.revision;
          if (before !== after) document.body.dispatchEvent(new CustomEvent("revised"));
          document.body.dispatchEvent(new CustomEvent("happened"));
        });
    });
  }

  function alive() {
    heard = Date.now();
    document.documentElement.classList.remove("stale");
  }

  setInterval(() => {
    if (document.hidden || !own().length) return;
    const silent = Date.now() - heard;
    document.documentElement.classList.toggle("stale", silent > STALE_MS);
    each("[data-heard]", (element) => {
      const text = silent > STALE_MS ? `last heard of ${Math.round(silent / 1000)} s ago` : "live";
      if (element.textContent !== text) element.textContent = text;
    });
  }, 1000);

  class Leader {
    constructor() {
      this.wants = new Map(); // tab -> topics, and when it last said so
      this.kept = new Map(); // topic -> the newest piece of page
      this.last = "";
      this.retry = 500;
      this.asking = setInterval(() => this.ask(), 15_000);
      this.want(tab, own());
      this.ask();
    }

    ask() {
      const old = Date.now() - 40_000;
      for (const [who, wish] of this.wants) if (who !== tab && wish.at < old) this.wants.delete(who);
      channel?.postMessage({ kind: "who" });
      this.open();
    }

    want(who, topics) {
      this.wants.set(who, { topics, at: Date.now() });
      for (const topic of topics) if (this.kept.has(topic)) this.pass(topic, this.kept.get(topic));
      this.open();
    }

    forget(who) {
      this.wants.delete(who);
      this.open();
    }

    pass(topic, html) {
      channel?.postMessage({ kind: "news", topic, html });
      show(topic, html);
    }

    open() {
      clearTimeout(this.soon);
      // tabs that open together ask one after the other: one stream serves them all
      this.soon = setTimeout(() => {
        const topics = [...new Set([...this.wants.values()].flatMap((wish) => wish.topics))].sort();
        const key = topics.join("\n");
        if (key === this.key && this.source && this.source.readyState !== EventSource.CLOSED) return;
        this.source?.close();
        this.source = null;
        this.key = key;
        if (!topics.length) return;
        const query = new URLSearchParams(topics.slice(0, 120).map((topic) => ["topic", topic]));
        if (this.last) query.set("last", this.last);
        this.listen(new EventSource(`/portal/stream?${query}`));
      }, 60);
    }

    listen(source) {
      this.source = source;
      const life = () => { alive(); this.retry = 500; channel?.postMessage({ kind: "alive" }); };
      source.onopen = life;
      source.addEventListener("alive", life);
      source.addEventListener("signed-out", () => { channel?.postMessage({ kind: "signed-out" }); leave(); });
      source.onmessage = (event) => {
        life();
        this.last = event.lastEventId;
        const { topic, html } = JSON.parse(event.data);
        this.kept.set(topic, html);
        this.pass(topic, html);
      };
      source.onerror = () => {
        if (source.readyState !== EventSource.CLOSED || this.source !== source) return;
        // not to be had now: perhaps the session is over, which any page finds out
        fetch("/portal/session", { redirect: "manual" }).then((answer) => {
          if (answer.type === "opaqueredirect" || answer.status === 401) leave();
        }).catch(() => {});
        this.retry = Math.min(this.retry * 2, 15_000);
        setTimeout(() => { if (this.source === source) { this.key = ""; this.open(); } }, this.retry);
      };
    }

    close() {
      clearInterval(this.asking);
      clearTimeout(this.soon);
      this.source?.close();
      this.source = null;
      this.wants.clear();
    }
  }

  let leaving = false;
  const leave = () => { // the server leads to the sign-in, and back here; a second time it would not know whose it was
    if (leaving) return;
    leaving = true;
    location.reload();
  };

  if (channel) channel.onmessage = ({ data }) => {
    if (data.kind === "news") { alive(); show(data.topic, data.html); }
    else if (data.kind === "alive") alive();
    else if (data.kind === "who" && !document.hidden) wish();
    else if (data.kind === "want") leader?.want(data.tab, data.topics);
    else if (data.kind === "bye") leader?.forget(data.tab);
    else if (data.kind === "signed-out") leave();
  };

  const wish = () => { if (own().length) channel?.postMessage({ kind: "want", tab, topics: own() }); };

  function begin() {
    if (document.hidden || !own().length || leader || waiting) return;
    wish();
    waiting = new AbortController();
    const led = () => new Promise((end) => { leader = new Leader(); leader.end = end; });
    if (!navigator.locks) { led(); return; }
    navigator.locks.request("anypop-live", { signal: waiting.signal }, led).catch(() => {});
  }

  function rest() {
    waiting?.abort();
    waiting = null;
    channel?.postMessage({ kind: "bye", tab });
    leader?.close();
    leader?.end();
    leader = null;
  }

  document.addEventListener("visibilitychange", () => { if (document.hidden) rest(); else { heard = Date.now(); begin(); } });
  addEventListener("pagehide", rest);
  addEventListener("pageshow", begin);
  document.addEventListener("htmx:after:swap", () => { tellTimes(document); sizeFlows(); });

  tellTimes(document);
  showCities();
  begin();
})();
