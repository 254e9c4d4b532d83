// Makes the portal's assets: node build.mjs FOLDER
//
// In: libraries that package-lock.json names, and what stands beside this file. Out: portal.js (htmx, its extension for
// a strict content security policy, and our own script), portal.css, land.svg (coastlines of Natural Earth in the
// projection that portal/projection.py has too) and licenses.txt. Nothing is minified here: libraries come so, and what
// is ours travels compressed.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { geoNaturalEarth1, geoPath } from "d3-geo";
import { feature } from "topojson-client";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const require = createRequire(import.meta.url);
const out = process.argv[2];
mkdirSync(out, { recursive: true });

const text = (...parts) => readFileSync(join(...parts), "utf8").trim() + "\n";
const bare = (script) => script.replace(/^\/\/# sourceMappingURL=.*$/m, "").trim() + "\n";

// A script of one page that shows what it asks for begins when the page has been painted: to run it, dates and numbers of the
// reader's language above all, takes the browser longer than the page.
const afterPaint = (...parts) => `requestAnimationFrame(() => setTimeout(() => {\n${parts.join(";\n")}}));\n`;

const scripts = [
  bare(text(modules, "htmx.org/dist/htmx.min.js")),
  bare(text(modules, "htmx.org/dist/ext/hx-csp.min.js")),
  text(here, "portal.js"),
];
writeFileSync(join(out, "portal.js"), scripts.join(";\n"));
for (const name of ["portal.css", "logs.css", "mark.svg"]) copyFileSync(join(here, name), join(out, name));
writeFileSync(join(out, "logs.js"), afterPaint(text(here, "logs.js")));
// loaded where somebody opens a terminal
const terminal = [
  bare(text(modules, "@xterm/xterm/lib/xterm.js")),
  bare(text(modules, "@xterm/addon-fit/lib/addon-fit.js")),
  text(here, "terminal.js"),
];
writeFileSync(join(out, "terminal.js"), terminal.join(";\n"));
writeFileSync(join(out, "terminal.css"), text(modules, "@xterm/xterm/css/xterm.css") + text(here, "terminal.css"));
// loaded where there are charts
writeFileSync(join(out, "charts.js"), afterPaint(bare(text(modules, "uplot/dist/uPlot.iife.min.js")), text(here, "charts.js")));
writeFileSync(join(out, "charts.css"), text(modules, "uplot/dist/uPlot.min.css") + text(here, "charts.css"));

// 960 x 480, without the Antarctic, where nobody has a site; a tenth of a unit is less than a pixel
const world = require("world-atlas/land-110m.json");
const land = feature(world, world.objects.land);
const projection = geoNaturalEarth1().scale(175).translate([480, 262]);
const path = geoPath(projection).digits(1);
const lands = land.features.flatMap((one) => one.geometry.coordinates.map((coordinates) => ({ type: "Polygon", coordinates })));
const drawn = lands.filter((one) => Math.max(...one.coordinates[0].map(([, latitude]) => latitude)) > -60);
const outline = drawn.map((one) => path(one)).join("");
writeFileSync(
  join(out, "land.svg"),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 480"><path id="land" d="${outline}"/></svg>\n`,
);

const names = ["htmx.org", "world-atlas", "@xterm/xterm", "@xterm/addon-fit", "uplot"];
const licenses = names.map((name) => `${name} ${require(`${name}/package.json`).version}\n\n${text(modules, name, "LICENSE")}`);
writeFileSync(join(out, "licenses.txt"), licenses.join("\n----\n\n") + "\nCoastlines: Natural Earth, public domain.\n");
