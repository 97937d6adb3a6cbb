"""What the embedding's page has besides the style of all pages: its own style, and the script of its maps.

The script looks for the dot next to the pointer, finger or arrow key, and shows its picture out of the sheet that the page holds; it
colours the dots by condition, replicate, cluster or density, and lets one group stand out. Without it the page only lacks these.
"""

from typing import Final

STYLE: Final = """
.pages { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 22px; } .pages a { margin: 0; }
.said { padding: 18px 24px 14px; background: var(--ground); border-radius: 6px; margin: 18px 0 14px; }
.said h3 { margin: 0; color: var(--soft); font-size: 13px; } .said p { font-size: 14.5px; max-width: 96ch; }
.said h4 { margin: 18px 0 0; } .said p.answer { font-size: 18px; margin: 2px 0 8px; } .said ul { margin: 6px 0 4px; padding-left: 20px; }
.said li { font-size: 14px; margin: 3px 0; max-width: 100ch; }
.mapped { display: grid; grid-template-columns: minmax(0, 1fr) 250px; gap: 8px 26px; margin: 12px 0; align-items: start; }
.map { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px; touch-action: manipulation; }
.map:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; } .map.live { cursor: crosshair; }
.map .dots path { fill-opacity: .8; stroke: #fff; stroke-width: .4; } .map .dots path.off { fill-opacity: .05; stroke: none; }
.plate { position: relative; overflow: hidden; }
.ring { position: absolute; width: 18px; height: 18px; margin: -9px; border: 2px solid var(--ink); border-radius: 50%; display: none;
  pointer-events: none; will-change: transform; }
.card { font-size: 13px; min-height: 330px; overflow-wrap: anywhere; }
.card canvas { display: block; width: 250px; height: 250px; background: #000; border-radius: 4px; image-rendering: pixelated; }
.card .blank { width: 250px; height: 250px; border: 1px dashed var(--line); border-radius: 4px; display: flex; align-items: center;
  justify-content: center; text-align: center; padding: 20px; color: var(--soft); }
.card p { margin: 5px 0; line-height: 1.35; } .card b { font-weight: 600; }
.paints { display: flex; flex-wrap: wrap; gap: 4px 16px; border: 0; padding: 0; margin: 0 0 4px; font-size: 13px; }
.paints legend { float: left; color: var(--soft); padding: 0 12px 0 0; } .paints label { white-space: nowrap; cursor: pointer; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; margin: 4px 0 8px; max-height: 132px; overflow-y: auto; font-size: 13px; }
.legend button { font: inherit; color: inherit; background: none; border: 0; border-radius: 3px; padding: 1px 4px; cursor: pointer;
  text-align: left; overflow-wrap: anywhere; }
.legend button:hover, .legend button[aria-pressed="true"] { background: #e6ebef; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px; vertical-align: -1px; }
.legend i.mark { width: auto; height: auto; border-radius: 0; font-style: normal; vertical-align: 0; }
.ramp { display: inline-flex; align-items: center; gap: 8px; } .ramp i { width: 7px; height: 12px; border-radius: 0; margin: 0; }
.sheet { display: none; }
.mapped + .files { display: block; margin: 0 0 8px; }
.side { display: flex; flex-wrap: wrap; gap: 18px 40px; align-items: flex-start; } .side figure { max-width: 100%; }
.near { display: grid; grid-template-columns: 190px minmax(0, 1fr); gap: 4px 18px; padding: 9px 0; border-bottom: 1px solid var(--line);
  break-inside: avoid; font-size: 13px; } .near p { margin: 2px 0; } .near > div { overflow-wrap: anywhere; }
.shots { display: flex; flex-wrap: wrap; gap: 10px; } .shots figure { width: 150px; position: relative; }
.shots .bar { position: absolute; left: 8px; top: 140px; border-top: 3px solid #fff; } .shots img { display: block; border-radius: 3px; }
.shots figcaption { font-size: 12px; line-height: 1.3; margin-top: 3px; }
.judged { display: grid; grid-template-columns: 128px 150px minmax(0, 1fr); gap: 2px 14px; padding: 6px 0; font-size: 13.5px;
  border-bottom: 1px solid var(--line); break-inside: avoid; } .judged p { margin: 0; max-width: none; }
@media screen and (max-width: 860px) { .mapped, .near, .judged { grid-template-columns: minmax(0, 1fr); } .card { min-height: 0; } }
@media print { .card, .paints, .pages, .ring { display: none; } .mapped { grid-template-columns: minmax(0, 1fr); }
  .map { max-height: 190mm; } .legend { max-height: none; } section { break-inside: auto; } }
"""

SCRIPT: Final = """
(function () {
  "use strict";
  const REACH = 30;
  const sheet = document.querySelector("img.sheet");
  const make = (name, text, parent) => {
    const found = document.createElement(name);
    if (text) found.textContent = text;
    if (parent) parent.append(found);
    return found;
  };
  for (const box of document.querySelectorAll(".mapped")) {
    const data = JSON.parse(box.querySelector(".numbers").textContent);
    const svg = box.querySelector("svg.map"), ring = box.querySelector(".ring"), card = box.querySelector(".card");
    const dots = [...svg.querySelectorAll(".dots path")], n = dots.length, view = svg.viewBox.baseVal;
    let paint = data.paints.condition, current = -1, pinned = false;

    // the card
    function hint() {
      card.replaceChildren();
      make("div", "Rest the pointer on a dot, tap it, or press Tab and the arrow keys.", card).className = "blank";
    }
    function line(word, text) {
      const p = make("p", "", card);
      make("span", word + ": ", p).className = "soft";
      make("b", text, p);
    }
    function show(i) {
      if (i === current) return;
      current = i;
      ring.style.left = 100 * data.x[i] / view.width + "%"; // a layer of its own: thousands of dots are not painted anew
      ring.style.top = 100 * data.y[i] / view.height + "%";
      ring.style.display = "block";
      card.replaceChildren();
      if (data.picture[i] < 0 || !sheet) {
        make("div", "This ROI has no picture on this page; its field's page shows where it lies.", card).className = "blank";
      } else {
        const canvas = make("canvas", "", card), side = data.side, at = data.picture[i];
        canvas.width = canvas.height = side;
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", "Locs of this ROI, per pixel of the network's raster");
        canvas.getContext("2d").drawImage(
          sheet, side * (at % data.abreast), side * Math.floor(at / data.abreast), side, side, 0, 0, side, side);
      }
      const [key, name] = data.fields[data.field[i]];
      const said = (what) => data.paints[what] && data.paints[what].names[data.paints[what].groups[i]];
      line("Condition", said("condition"));
      if (said("replicate")) line("Replicate", said("replicate").slice(said("condition").length + 2)); // after "condition, "
      line("Field", name + ", ROI " + data.roi[i]);
      line("Locs", data.locs[i].toLocaleString("en"));
      if (said("cluster")) line("K-means", said("cluster"));
      const link = make("a", "Open the field's page", make("p", "", card));
      link.href = "fields/" + key + ".html";
    }
    function away() {
      current = -1;
      pinned = false;
      ring.style.display = "none";
      hint();
    }

    // the dot next to a place, among those that stand out
    function nearest(x, y, reach) {
      let best = -1, least = reach * reach;
      for (let i = 0; i < n; i++) {
        const far = (data.x[i] - x) ** 2 + (data.y[i] - y) ** 2;
        if (far < least && !dots[i].classList.contains("off")) { best = i; least = far; }
      }
      return best;
    }
    function at(event, reach) {
      const frame = svg.getBoundingClientRect(), scale = view.width / frame.width;
      return nearest((event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale, reach * scale);
    }
    svg.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse" || pinned) return;
      const i = at(event, REACH);
      if (i >= 0) show(i);
    });
    svg.addEventListener("click", (event) => {
      const i = at(event, REACH);
      if (i < 0) { away(); return; }
      if (event.pointerType === "mouse") { open(i); return; }
      pinned = true;
      show(i);
    });
    function open(i) { location.href = "fields/" + data.fields[data.field[i]][0] + ".html"; }

    // keys: to the next dot in a direction
    const middle = () => nearest(view.width / 2, view.height / 2, 1e6);
    const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    function step([dx, dy]) {
      let best = -1, least = Infinity;
      for (let i = 0; i < n; i++) {
        if (i === current || dots[i].classList.contains("off")) continue;
        const x = data.x[i] - data.x[current], y = data.y[i] - data.y[current];
        const along = x * dx + y * dy, aside = Math.abs(x * dy + y * dx);
        if (along > 0 && along >= aside && along + 2 * aside < least) { best = i; least = along + 2 * aside; }
      }
      if (best >= 0) show(best);
    }
    svg.addEventListener("keydown", (event) => {
      if (event.key in WAYS) { if (current < 0) show(middle()); else step(WAYS[event.key]); }
      else if (event.key === "Enter" && current >= 0) open(current);
      else if (event.key === "Escape") away();
      else return;
      event.preventDefault();
    });
    svg.addEventListener("focus", () => { if (svg.matches(":focus-visible") && current < 0 && n) show(middle()); });
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "application");
    svg.classList.add("live");

    // colours
    const modes = make("fieldset", ""), legend = make("div", "");
    modes.className = "paints";
    legend.className = "legend";
    box.querySelector(".mapkey").replaceWith(modes, legend);
    make("legend", "Colour by", modes);
    function single(group) {
      dots.forEach((dot, i) => dot.classList.toggle("off", group >= 0 && paint.groups[i] !== group));
    }
    function keys() {
      legend.replaceChildren();
      if (paint.ramp) {
        const ramp = make("span", "", legend);
        ramp.className = "ramp";
        make("span", paint.names[0], ramp);
        const bar = make("span", "", ramp);
        bar.className = "ramp";
        bar.style.gap = 0;
        for (const colour of paint.colours) make("i", "", bar).style.background = colour;
        make("span", paint.names[paint.names.length - 1], ramp);
        return;
      }
      const sizes = paint.names.map(() => 0);
      for (const group of paint.groups) sizes[group]++;
      if (new Set(paint.colours.map((colour, i) => colour + (paint.marks[i] || ""))).size < paint.colours.length) {
        make("span", "Colours repeat: click a name to see its dots alone.", legend).className = "soft";
      }
      paint.names.forEach((name, group) => {
        const button = make("button", "", legend);
        button.type = "button";
        button.setAttribute("aria-pressed", "false");
        button.title = "Let these stand out";
        const mark = make("i", paint.marks[group] || "", button);
        mark.className = paint.marks[group] ? "mark" : "";
        mark.style[paint.marks[group] ? "color" : "background"] = paint.colours[group];
        button.append(name + " ");
        make("span", sizes[group].toLocaleString("en"), button).className = "soft";
        button.addEventListener("click", () => {
          const on = button.getAttribute("aria-pressed") !== "true";
          for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
          button.setAttribute("aria-pressed", String(on));
          single(on ? group : -1);
        });
      });
    }
    function colour(mode) {
      paint = data.paints[mode];
      dots.forEach((dot, i) => dot.setAttribute("fill", paint.colours[paint.groups[i]]));
      single(-1);
      keys();
    }
    for (const mode of Object.keys(data.paints)) {
      const label = make("label", "", modes), input = make("input", "", label);
      input.type = "radio";
      input.name = "paint-" + box.id;
      input.value = mode;
      input.checked = mode === "condition";
      label.append(" " + mode);
      input.addEventListener("change", () => colour(mode));
    }
    keys();
    hint();
  }
})();
"""
