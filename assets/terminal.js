// A terminal into a container, or the console of a virtual machine: keys go there, its output comes here, its size follows the page. Frames as the API has
// them: the first byte says what they are. What the container sends can draw in the terminal and nothing else.
"use strict";
(() => {
  const place = document.getElementById("terminal");
  const status = document.getElementById("terminal-status");
  const again = document.getElementById("terminal-again");
  const INPUT = 0, OUTPUT = 1, ERRORS = 2, EXIT = 3, SIZE = 4, END = 5;
  const LARGEST = 16_384;
  // titles, links, the clipboard, colours of the page, what shells and other terminals have beside: none of it is obeyed
  const UNHEARD = [0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 50, 52, 99, 104, 105, 110, 111, 112, 133, 633, 777, 1337];

  // the policy takes no style without the page's nonce, and the library makes two of its own
  const nonce = document.querySelector("script[nonce]").nonce;
  const make = document.createElement.bind(document);
  document.createElement = (name, options) => {
    const made = make(name, options);
    if (name === "style") made.nonce = nonce;
    return made;
  };

  const colour = (name) => getComputedStyle(place).getPropertyValue(name);
  const theme = () => ({
    background: getComputedStyle(place).backgroundColor,
    foreground: getComputedStyle(place).color,
    cursor: getComputedStyle(place).color,
    cursorAccent: getComputedStyle(place).backgroundColor,
    selectionBackground: getComputedStyle(place).outlineColor,
  });
  const terminal = new Terminal({
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    fontFamily: colour("--mono"),
    fontSize: 14,
    scrollback: 10_000,
    minimumContrastRatio: 4.5,
    screenReaderMode: true,
    theme: theme(),
  });
  for (const number of UNHEARD) terminal.parser.registerOscHandler(number, () => true);
  const fit = new FitAddon.FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  fit.fit();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { terminal.options.theme = theme(); });

  // Tab belongs to the shell, so there is a key that leaves
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.key !== "Escape" || !event.shiftKey) return true;
    if (event.type === "keydown") document.getElementById("terminal-leave").focus();
    return false;
  });

  let socket = null;
  const say = (text) => { status.textContent = text; };

  function send(kind, bytes) {
    if (socket?.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at === 0 || at < bytes.length; at += LARGEST) {
      const piece = bytes.subarray(at, at + LARGEST);
      const frame = new Uint8Array(piece.length + 1);
      frame[0] = kind;
      frame.set(piece, 1);
      socket.send(frame);
    }
  }

  const text = new TextEncoder();
  terminal.onData((data) => send(INPUT, text.encode(data)));
  terminal.onBinary((data) => send(INPUT, Uint8Array.from(data, (letter) => letter.charCodeAt(0) & 255)));
  terminal.onResize(({ rows, cols }) => send(SIZE, text.encode(JSON.stringify({ rows, columns: cols }))));
  new ResizeObserver(() => fit.fit()).observe(place);

  function open() {
    const query = new URLSearchParams(place.dataset.query);
    query.set("rows", terminal.rows);
    query.set("columns", terminal.cols);
    const own = socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/portal/terminal?${query}`);
    let ended = "", opened = false;
    own.binaryType = "arraybuffer";
    again.hidden = true;
    say("Connecting");
    own.onopen = () => { opened = true; say("Connected"); terminal.focus(); };
    own.onmessage = ({ data }) => {
      if (!(data instanceof ArrayBuffer) || !data.byteLength) return;
      const frame = new Uint8Array(data);
      if (frame[0] === OUTPUT || frame[0] === ERRORS) terminal.write(frame.subarray(1));
      else if (frame[0] === EXIT) ended = `The shell has ended with code ${Number(JSON.parse(new TextDecoder().decode(frame.subarray(1))).code)}.`;
      else if (frame[0] === END) ended = "The console has ended: the instance is gone, or too many have it open.";
    };
    own.onclose = ({ code, reason }) => {
      if (own !== socket) return;
      say(ended || reason || (opened ? "The connection has ended." : "No connection: the instance may not run, or control does not answer."));
      again.hidden = false;
      // perhaps the session is over, which any page finds out
      if (code !== 1000) fetch("/portal/session", { redirect: "manual" }).then((answer) => {
        if (answer.type === "opaqueredirect" || answer.status === 401) location.reload();
      }).catch(() => {});
    };
  }

  again.addEventListener("click", () => { terminal.reset(); open(); });
  addEventListener("pagehide", () => socket?.close());
  open();
})();
