"""What a field's page has besides the style of all pages: its own style, and the script that saves figures as files.

A campaign of hundreds of fields may not have a dozen files for each, so a figure's files are made in the browser of what is in
the page: the SVG as it stands, a PNG of it, its numbers as CSV. Without the script the page only lacks these buttons.
"""

from typing import Final

STYLE: Final = """
.pages { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 22px; }
.pages a { margin: 0; } .pages a:last-child { margin-left: auto; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 26px 28px; margin: 16px 0; align-items: start; }
figure svg { display: block; max-width: 100%; height: auto; }
.rendering { display: inline-block; max-width: 100%; border-radius: 4px; overflow: hidden; }
.rendering + .fates { margin-top: 4px; }
.channels { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; margin: 18px 0; align-items: start; }
.fates { display: flex; flex-wrap: wrap; gap: 4px 22px; margin-top: 7px; font-size: 13px; }
.fates span { display: inline-flex; align-items: center; gap: 7px; }
.save { display: inline-block; margin-left: 8px; white-space: nowrap; }
.save button { font: inherit; color: var(--mark); background: none; border: 0; padding: 0 3px; cursor: pointer;
  text-decoration: underline; }
.judged { display: grid; grid-template-columns: 128px 150px minmax(0, 1fr); gap: 2px 14px; padding: 6px 0;
  font-size: 13.5px; border-bottom: 1px solid var(--line); break-inside: avoid; }
.judged p { margin: 0; max-width: none; }
h1 .light { font-size: 17px; vertical-align: 4px; }
@media screen and (max-width: 760px) { .charts, .channels, .judged { grid-template-columns: minmax(0, 1fr); } }
@media print {
  .save, .pages { display: none; } section { break-inside: auto; } .charts { gap: 14px 18px; }
  figure > svg { max-height: 215mm; } .rendering svg { max-height: 185mm; } .channels .rendering svg { max-height: 110mm; }
  .judged { grid-template-columns: 88px 108px minmax(0, 1fr); padding: 3px 0; font-size: 9pt; } .judged b { font-size: 8.5pt; }
}
"""

SCRIPT: Final = """
(function () {
  "use strict";
  const XLINK = "http://www.w3.org/1999/xlink";
  function offer(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  function drawing(figure) {
    const svg = figure.querySelector("svg").cloneNode(true);
    for (const image of svg.querySelectorAll("image")) { // programs that know SVG 1.1 only
      image.setAttributeNS(XLINK, "xlink:href", image.getAttribute("href"));
      image.removeAttribute("href");
    }
    return '<?xml version="1.0" encoding="UTF-8"?>\\n' + new XMLSerializer().serializeToString(svg);
  }
  function picture(figure, name) {
    const box = figure.querySelector("svg").viewBox.baseVal;
    const scale = Math.max(1, 1600 / Math.max(box.width, box.height));
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = Math.round(box.width * scale);
      canvas.height = Math.round(box.height * scale);
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => offer(blob, name + ".png"), "image/png");
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(drawing(figure));
  }
  const kinds = {
    SVG: (figure, name) => offer(new Blob([drawing(figure)], { type: "image/svg+xml" }), name + ".svg"),
    PNG: picture,
    CSV: (figure, name) => offer(new Blob([figure.querySelector("pre").textContent], { type: "text/csv" }), name + ".csv"),
  };
  for (const figure of document.querySelectorAll("figure[data-name]")) {
    const row = document.createElement("span");
    row.className = "save";
    for (const [kind, save] of Object.entries(kinds)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = kind;
      button.title = "Save this figure as " + kind;
      button.addEventListener("click", () => save(figure, figure.dataset.name));
      row.append(row.childNodes.length ? " \\u00b7 " : "", button);
    }
    figure.querySelector("figcaption").append(" ", row);
  }
})();
"""
