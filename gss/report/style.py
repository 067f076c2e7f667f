"""Style sheet and picture zoom of the HTML reports; colours are variables so that the charts follow them."""

STYLE = """
:root {
  --page: #f7f7f5; --card: #ffffff; --ink: #16181d; --soft: #5d6370; --line: #e3e4e8; --grid: #ecedf0;
  --accent: #2a6fdb;
  --s0: #2a78d6; --s1: #e0672b; --s2: #17936a; --s3: #b98300; --s4: #6a4bc4; --s5: #cf4d84; --s6: #5d6370;
  --shadow: 0 1px 2px rgb(20 24 40 / 5%), 0 4px 16px rgb(20 24 40 / 4%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131519; --card: #1c1f25; --ink: #eceef2; --soft: #9aa1ae; --line: #2d323b; --grid: #272b33;
    --accent: #74a9ff;
    --s0: #5b9df0; --s1: #ee8550; --s2: #35b98b; --s3: #d9a62e; --s4: #a08cf0; --s5: #e57fab; --s6: #9aa1ae;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 4rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}
header, main, nav { max-width: 1160px; margin: 0 auto; padding-inline: clamp(1rem, 4vw, 2.5rem); }
header { padding-top: clamp(2rem, 6vw, 3.5rem); padding-bottom: 1rem; }
main { padding-bottom: 5rem; }
h1 {
  font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -0.025em; margin: 0;
  text-wrap: balance;
}
h2 {
  font-size: 1.35rem; letter-spacing: -0.015em; margin: 3rem 0 0.6rem; padding-top: 1.6rem;
  border-top: 1px solid var(--line);
}
main > h2:first-child { margin-top: 0.5rem; border-top: 0; padding-top: 0.5rem; }
h3 { font-size: 0.95rem; font-weight: 600; margin: 0 0 0.6rem; }
p { margin: 0.4rem 0 1rem; max-width: 74ch; }
.subtitle { color: var(--soft); margin: 0.7rem 0 0; overflow-wrap: anywhere; }
nav {
  position: sticky; top: 0; z-index: 2; display: flex; gap: 0.25rem; overflow-x: auto;
  scrollbar-width: none;
  padding-block: 0.55rem; background: color-mix(in srgb, var(--page) 88%, transparent);
  backdrop-filter: blur(10px);
}
nav a {
  color: var(--soft); text-decoration: none; white-space: nowrap; font-size: 0.88rem;
  padding: 0.25rem 0.7rem; border-radius: 99px;
}
nav a:first-child { margin-left: -0.7rem; }
nav a:hover { color: var(--ink); background: var(--line); }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }

.tiles {
  display: grid; gap: 0.8rem; grid-template-columns: repeat(auto-fit, minmax(min(150px, 44%), 1fr));
  margin: 1.2rem 0;
}
.tile, .chart, .row, .scroll, details, .code {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px; box-shadow: var(--shadow);
}
.tile { padding: 0.9rem 1.1rem 1rem; }
.tile-label { color: var(--soft); font-size: 0.84rem; }
.tile-value {
  font-size: 1.75rem; font-weight: 650; letter-spacing: -0.025em; line-height: 1.3;
  font-variant-numeric: tabular-nums;
}
.tile-note { color: var(--soft); font-size: 0.8rem; line-height: 1.4; }

.scroll { overflow-x: auto; margin: 1rem 0; width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0.8rem 1rem 0.3rem; font-size: 0.88rem; }
th, td { padding: 0.5rem 1rem; text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: 0.84rem; }
thead th { border-bottom: 1px solid var(--line); }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
.chart .scroll { border: 0; box-shadow: none; margin: 0; border-radius: 0; }
.chart:has(.heat) { max-width: 100%; width: fit-content; grid-column: 1 / -1; }
.scroll th:first-child, .scroll td:first-child { position: sticky; left: 0; background: var(--card); }
.num { text-align: right; }
td b { font-weight: 700; }
.heat { font-size: 0.8rem; }
.heat th, .heat td { padding: 0.28rem 0.5rem; }
.heat tbody th { text-align: right; }
.heat thead th { vertical-align: bottom; }
.heat thead th span { writing-mode: vertical-rl; transform: rotate(180deg); }
.heat td {
  text-align: center; background: color-mix(in srgb, var(--s0) calc(var(--v) * 92%), transparent);
}
.heat td.strong { color: #fff; }
.heat tbody tr + tr > * { border-top: 0; }

.chip {
  display: inline-block; width: 0.85em; height: 0.85em; border-radius: 4px; margin-right: 0.55em;
  vertical-align: -0.06em; box-shadow: inset 0 0 0 1px rgb(128 128 128 / 45%);
}
.keys {
  display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; color: var(--soft); font-size: 0.84rem;
  margin-top: 0.5rem;
}
.keys i:not(.chip) {
  display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 0.45em;
  vertical-align: 0.25em; background: currentColor;
}
.keys i.d1, .keys i.d2 { background: repeating-linear-gradient(90deg, currentColor 0 4px, transparent 4px 7px); }
.keys i.d2 { background: repeating-linear-gradient(90deg, currentColor 0 2px, transparent 2px 5px); }
.keys.legend { margin: 0.8rem 0 1.2rem; font-size: 0.9rem; }

.charts {
  display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr));
  margin: 1rem 0; align-items: start;
}
figure { margin: 0; min-width: 0; }
.chart { padding: 1rem 1.1rem; max-width: 640px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11.5px; font-family: inherit; font-variant-numeric: tabular-nums; }
svg .name { fill: var(--ink); font-size: 12.5px; }
svg .none { font-style: italic; }
svg .grid { stroke: var(--grid); }
svg .axis { stroke: var(--soft); opacity: 0.6; }
svg .line {
  fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
}
svg .line.d1 { stroke-dasharray: 6 4; }
svg .line.d2 { stroke-dasharray: 1.5 4; }
svg .faint { opacity: 0.25; stroke-width: 1; }
svg circle { fill: currentColor; stroke: var(--card); stroke-width: 1.5; }
svg .bar { fill: currentColor; }
svg .track { fill: var(--grid); }
svg .area {
  fill: currentColor; fill-opacity: 0.16; stroke: currentColor; stroke-width: 1.6;
  stroke-linejoin: round;
}
svg .gap { fill: var(--s1); opacity: 0.55; }
svg .diagonal { stroke: var(--ink); stroke-width: 1.4; stroke-dasharray: 4 4; fill: none; }
.s0 { color: var(--s0); } .s1 { color: var(--s1); } .s2 { color: var(--s2); } .s3 { color: var(--s3); }
.s4 { color: var(--s4); } .s5 { color: var(--s5); } .s6 { color: var(--s6); }

.grid {
  display: grid; gap: 0.9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(var(--least), 46%), 1fr)); margin: 1rem 0;
}
figure img {
  display: block; width: 100%; height: auto; border-radius: 8px; cursor: zoom-in;
  background: var(--grid);
}
figcaption {
  color: var(--soft); font-size: 0.82rem; padding-top: 0.35rem; line-height: 1.35;
  overflow-wrap: anywhere;
}
.row { padding: 0.9rem 1rem 1rem; margin: 0.9rem 0; }
.row-caption { font-size: 0.9rem; font-weight: 600; margin-bottom: 0.6rem; overflow-wrap: anywhere; }
.cells { display: grid; gap: 0.7rem; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); }
@media (max-width: 720px) {
  .cells { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  th, td { padding: 0.45rem 0.7rem; }
}

pre {
  font: 0.82rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow: auto;
  margin: 0;
}
.code { padding: 0.8rem 1rem; margin: 0.8rem 0 1.2rem; }
details { margin: 0.8rem 0; overflow: hidden; }
summary { cursor: pointer; padding: 0.7rem 1rem; font-weight: 500; font-size: 0.92rem; }
details pre { max-height: 28rem; padding: 0.2rem 1rem 1rem; }
dialog {
  border: 0; padding: 0; background: none; max-width: 96vw; max-height: 96vh; cursor: zoom-out;
  color: #fff; text-align: center;
}
dialog::backdrop { background: rgb(8 10 14 / 88%); }
dialog img {
  display: block; width: min(96vw, 1280px); max-height: 88vh; object-fit: contain;
  image-rendering: auto;
}
dialog p { margin: 0.5rem auto; font-size: 0.9rem; }
@media print { nav, dialog { display: none; } .row, .chart, .tile { break-inside: avoid; } }
"""

ZOOM_SCRIPT = """
const zoom = document.getElementById('zoom');
document.querySelector('main').addEventListener('click', event => {
  if (!event.target.matches('figure img')) return;
  zoom.querySelector('img').src = event.target.src;
  zoom.querySelector('p').textContent = event.target.alt;
  zoom.showModal();
});
zoom.addEventListener('click', () => zoom.close());
"""
