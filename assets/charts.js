// Charts of what instances use: drawn by uPlot, asked for what is new while somebody looks, by keyboard, and as a table for
// those who do not see them. What is old says how old; what did not answer is named.
"use strict";
(() => {
  // eight hues that any kind of colour vision tells apart (M. Okabe and K. Ito), and dashes where they come round again
  const HUES = [
    ["#0b5cad", "#7cb8f5"], ["#b33600", "#ff9168"], ["#00705a", "#3ecfa8"], ["#805500", "#eab54a"],
    ["#8c3f7c", "#e394d2"], ["#15191e", "#e9edf1"], ["#4d6b8a", "#a9bfd6"], ["#6b5a3a", "#cdb98f"],
  ];
  const MOST = HUES.length;
  const NAMED = 6; // hosts that are not in a chart, for each reason
  const ROWS = 24; // of a table: no more than somebody listens to
  const LATE = 2; // steps at the end of what is known that may still change, as late samples come
  const WHOLE_MS = 600_000; // so often all is asked for: holes of the past are filled when their hosts are back
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hue = (n) => HUES[n % MOST][dark.matches ? 1 : 0];

  // ---- numbers

  const figures = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
  const scaled = (value, base, units) => {
    let at = 0;
    while (Math.abs(value) >= base && at < units.length - 1) { value /= base; at += 1; }
    return `${figures(value)} ${units[at]}`;
  };
  const cores = { factor: 1, base: 10, words: (value) => `${figures(value)} ${value === 1 ? "core" : "cores"}` };
  // what the API counts in, by what it is shown in: networks are told in bits, probes in milliseconds
  const UNITS = {
    cores,
    bytes: { factor: 1, base: 2, words: (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]) },
    "bytes/s": { factor: 8, base: 10, words: (value) => scaled(value, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]) },
    "flows/s": { factor: 1, base: 10, words: (value) => `${figures(value)} / s` },
    seconds: { factor: 1000, base: 10, words: (value) => scaled(value, 1000, ["ms", "s"]) },
  };
  const unit = (name) => UNITS[name] ?? { factor: 1, base: 10, words: figures };
  const told = (value, name) => (value === null || value === undefined ? "unknown" : unit(name).words(value));
  // steps of an axis: 1, 2, 5 and so on, or powers of two where sizes are counted in them
  const STEPS = {
    10: Array.from({ length: 60 }, (_, n) => [1, 2, 5][n % 3] * 10 ** (Math.floor(n / 3) - 6)),
    2: Array.from({ length: 50 }, (_, n) => 2 ** n),
  };
  const aged = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`);
  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  const clock = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

  // ---- what is known, and what is new

  // one picture: of one source, with the same hosts in it
  const fits = (known, more) => JSON.stringify([known.source, known.step, known.missing]) === JSON.stringify([more.source, more.step, more.missing]);
  function joined(known, more, since) {
    const series = new Map(known.series.map((one) => [one.name, one.points.filter(([at]) => at >= more.from && at < since - more.step / 2)]));
    for (const one of more.series) series.set(one.name, [...(series.get(one.name) ?? []), ...one.points]);
    return { ...more, series: [...series].filter(([, points]) => points.length).map(([name, points]) => ({ name, points })) };
  }

  // ---- one chart

  const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text }, more);

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plot = figure.querySelector(".plot");
      this.legend = figure.querySelector(".legend");
      this.table = figure.querySelector("table");
      this.note = figure.querySelector(".chart-note");
      this.voice = figure.querySelector("[aria-live]");
      this.at = null; // the moment that the keyboard is at
      this.heard = null; // when the last answer came, and how old it was then
      this.plot.addEventListener("keydown", (event) => this.key(event));
      this.plot.addEventListener("blur", () => { this.at = null; this.drawn?.setCursor({ left: -10, top: -10 }); this.names(); });
      new ResizeObserver(() => this.drawn?.setSize(this.size())).observe(this.plot);
    }

    size() { return { width: Math.max(200, this.plot.clientWidth), height: 160 }; }

    // from where on to ask; null: for all
    part(asked) {
      if (this.known?.asked !== asked || Date.now() - this.known.at > WHOLE_MS) return null;
      const newest = Math.max(...this.data.series.map((one) => one.points.at(-1)?.[0] ?? -Infinity));
      return Number.isFinite(newest) ? { since: newest - LATE * this.data.step, step: this.data.step } : null;
    }

    async ask(choice) {
      const asked = this.asked = JSON.stringify(choice);
      const part = this.part(asked);
      const query = new URLSearchParams({ ...this.figure.dataset, ...choice, ...part });
      try {
        const answer = await fetch(`${this.figure.closest("[data-measured]").dataset.measured}?${query}`, { redirect: "manual" });
        if (answer.type === "opaqueredirect" || answer.status === 401) { location.reload(); return; }
        const data = await answer.json();
        if (asked !== this.asked) return; // something else was chosen meanwhile
        if (!answer.ok) this.fail(data.message);
        else if (part && !fits(this.data, data)) {
          this.known = null;
          await this.ask(choice);
        } else {
          if (!part) this.known = { asked, at: Date.now() };
          this.show(part ? joined(this.data, data, part.since) : data, part);
        }
      } catch {
        if (asked === this.asked) this.fail("Control does not answer.");
      }
    }

    fail(words) {
      this.problem = words;
      this.tell();
    }

    show(data, part = null) {
      this.problem = "";
      // nothing new: what is known grows older
      if (data.age !== null || !part) this.heard = { at: Date.now(), age: data.age };
      this.data = data;
      const { factor } = unit(data.unit);
      this.all = data.series.map((one) => ({ ...one, last: one.points.length ? one.points.at(-1)[1] * factor : null }));
      // the largest of many, which says so
      this.series = [...this.all].sort((a, b) => (b.last ?? -1) - (a.last ?? -1)).slice(0, MOST).sort((a, b) => a.name.localeCompare(b.name));
      const moments = [...new Set(this.series.flatMap((one) => one.points.map(([at]) => at)))].sort((a, b) => a - b);
      const place = new Map(moments.map((at, n) => [at, n]));
      this.lines = this.series.map((one) => {
        const line = new Array(moments.length).fill(null);
        for (const [at, value] of one.points) line[place.get(at)] = value * factor;
        return line;
      });
      this.moments = moments;
      this.draw();
      this.names();
      this.rows();
      this.tell();
    }

    draw() {
      const key = JSON.stringify([this.series.map((one) => one.name), dark.matches, this.data.unit]);
      const range = { min: this.data.from, max: this.data.to };
      if (this.drawn && this.look === key) {
        this.drawn.batch(() => { this.drawn.setData([this.moments, ...this.lines], false); this.drawn.setScale("x", range); });
        this.cursor();
        return;
      }
      this.look = key;
      this.drawn?.destroy();
      const ink = getComputedStyle(this.note).color, line = getComputedStyle(this.plot).borderBottomColor;
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      this.drawn = new uPlot({
        ...this.size(),
        legend: { show: false },
        cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
        padding: [8, 8, 0, 0],
        scales: { x: { time: true, range: () => [this.data.from, this.data.to] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, size: 24, gap: 4, space: 64, values: (_, ticks) => ticks.map((tick) => (this.data.to - this.data.from > 90_000 ? day : hour).format(new Date(tick * 1000))) },
          { ...axis, size: 80, gap: 8, space: 32, incrs: STEPS[unit(this.data.unit).base], values: (_, ticks) => ticks.map((tick) => told(tick, this.data.unit)) },
        ],
        series: [{}, ...this.series.map((one, n) => ({ label: one.name, stroke: hue(n), width: 1.5, spanGaps: false, points: { show: false } }))],
        hooks: { setCursor: [(drawn) => this.names(drawn.cursor.idx)] },
      }, [this.moments, ...this.lines], this.plot);
      this.cursor();
    }

    // what stands beside each name: the value under the cursor, else the newest
    names(at = this.at) {
      if (!this.series) return;
      const shown = at ?? this.moments.length - 1;
      this.legend.replaceChildren(...this.series.map((one, n) => {
        const item = make("li");
        const swatch = make("span", "", { className: "swatch" });
        swatch.style.backgroundColor = hue(n);
        item.append(swatch, make("span", one.name), make("span", told(at === null || at === undefined ? one.last : this.lines[n][shown], this.data.unit), { className: "figure" }));
        return item;
      }));
      const when = this.figure.querySelector(".chart-at");
      when.textContent = at === null || at === undefined || !this.moments.length ? "" : clock.format(new Date(this.moments[shown] * 1000));
      when.title = when.textContent && new Date(this.moments[shown] * 1000).toISOString();
    }

    rows() {
      const step = Math.max(1, Math.ceil(this.moments.length / ROWS));
      const head = make("tr");
      head.append(...["Time", ...this.series.map((one) => one.name)].map((text) => make("th", text, { scope: "col" })));
      const body = this.moments.map((at, n) => [at, n]).filter(([, n]) => (this.moments.length - 1 - n) % step === 0).reverse().map(([at, n]) => {
        const row = make("tr");
        row.append(make("th", clock.format(new Date(at * 1000)), { scope: "row" }), ...this.lines.map((line) => make("td", told(line[n], this.data.unit))));
        return row;
      });
      this.table.tHead.replaceChildren(head);
      this.table.tBodies[0].replaceChildren(...body);
      const now = this.series.map((one) => `${one.name} ${told(one.last, this.data.unit)}`).join(", ");
      this.plot.setAttribute("aria-label", `${this.figure.dataset.title}: ${now || "nothing is measured"}. Arrow keys read it, a table follows.`);
    }

    tell() {
      const words = [];
      const age = this.heard && this.heard.age !== null ? this.heard.age + (Date.now() - this.heard.at) / 1000 : null;
      const stale = Boolean(this.problem) || (age !== null && age > Math.max(30, 3 * (this.data?.step ?? 0)));
      if (this.problem) words.push(this.problem);
      if (stale && age !== null) words.push(`The newest value is ${aged(age)} old: how it is now is unknown.`);
      if (this.data && !this.problem) {
        if (!this.data.series.length) words.push("Nothing was measured in this time.");
        if (this.all.length > MOST) words.push(`The largest ${MOST} of ${this.all.length}.`);
      }
      this.figure.classList.toggle("old", stale);
      const text = words.join(" ");
      if (this.note.textContent !== text) this.note.textContent = text;
    }

    key(event) {
      if (!this.moments?.length) return;
      const last = this.moments.length - 1;
      const far = event.shiftKey ? Math.max(1, Math.round(last / 10)) : 1;
      const to = { ArrowLeft: (this.at ?? last + 1) - far, ArrowRight: (this.at ?? last) + far, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.at = Math.min(last, Math.max(0, to));
      this.cursor();
      this.names();
      this.voice.textContent = `${clock.format(new Date(this.moments[this.at] * 1000))}: ${this.series.map((one, n) => `${one.name} ${told(this.lines[n][this.at], this.data.unit)}`).join(", ")}`;
    }

    cursor() {
      if (this.at === null || !this.drawn) return;
      this.at = Math.min(this.at, this.moments.length - 1);
      this.drawn.setCursor({ left: this.drawn.valToPos(this.moments[this.at], "x"), top: 0 }, false);
    }
  }

  // ---- all charts of a page, by one choice

  const form = document.querySelector(".chart-choice");
  const missing = document.querySelector(".chart-missing");
  const charts = [...document.querySelectorAll("figure[data-chart]")].map((figure) => new Chart(figure));
  const choice = () => Object.fromEntries(new FormData(form));
  let next = 0;

  // who is in none of them, or not in all: told once, each reason with all whose it is
  function tellMissing() {
    const why = new Map();
    for (const text of new Set(charts.flatMap((chart) => chart.data?.missing ?? []))) {
      const [who, ...reason] = text.split(": ");
      why.set(reason.join(": "), [...(why.get(reason.join(": ")) ?? []), who]);
    }
    const told = [...why].map(([reason, who]) => `${who.slice(0, NAMED).join(", ")}${who.length > NAMED ? ` and ${who.length - NAMED} more` : ""}${reason && `: ${who.length > 1 ? "of each, " : ""}${reason}`}`);
    const text = told.length ? `Not in it: ${told.join(". ")}.` : "";
    if (missing.textContent !== text) missing.textContent = text;
  }

  function ask() {
    clearTimeout(next);
    if (document.hidden) return;
    const chosen = choice();
    Promise.all(charts.map((chart) => chart.ask(chosen))).then(() => {
      tellMissing();
      // as often as there can be something new
      clearTimeout(next);
      next = setTimeout(ask, 1000 * Math.min(60, Math.max(5, 2 * (charts[0]?.data?.step ?? 5))));
    });
  }

  form.addEventListener("change", ask);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("visibilitychange", ask);
  dark.addEventListener("change", () => charts.forEach((chart) => { if (chart.data) { chart.draw(); chart.names(); } }));
  setInterval(() => { if (!document.hidden) charts.forEach((chart) => chart.tell()); }, 1000);
  ask();
})();
