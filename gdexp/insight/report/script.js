"use strict";
document.documentElement.classList.add("js");

// Tables: a column's button sorts by it, numbers before strings, "–" last.
function rank(text, down) {
  if (text === "–") return [2, 0, ""];
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? [1, 0, text] : [0, down ? -number : number, ""];
}
function sort(table, header) {
  const place = [...header.parentNode.children].indexOf(header);
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [rank(row.cells[place].textContent.trim(), down), row]);
  const sign = down ? -1 : 1;
  rows.sort(([a], [b]) => a[0] - b[0] || a[1] - b[1] || sign * a[2].localeCompare(b[2], "en", { numeric: true }));
  body.append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}

// Pictures: the values of the point nearest to the cursor, or chosen with the arrow keys.
const HINT = "Point at a picture, or focus it and press the arrow keys, to read its values.";
function groups(figure) {
  return JSON.parse(figure.querySelector("script").textContent).flatMap((group) => {
    const at = group.at.split(" ").map(Number);
    const values = group.values.split(" ");
    const { label, names } = group;
    const points = [];
    for (let i = 0; 2 * i + 1 < at.length; i++) {
      const own = values.slice(i * names.length, (i + 1) * names.length);
      const text = names.map((name, k) => `${name} ${own[k]}`).join(", ");
      points.push({ x: at[2 * i], y: at[2 * i + 1], text: label ? `${label}: ${text}` : text });
    }
    return points.length ? [points] : [];
  });
}
function nearest(lines, x, y) {
  let best = [0, 0], least = Infinity;
  lines.forEach((points, g) => points.forEach((point, i) => {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance < least) [least, best] = [distance, [g, i]];
  }));
  return best;
}
let isFirst = true;
for (const figure of document.querySelectorAll("figure")) {
  if (!figure.querySelector("script")) continue;
  const svg = figure.querySelector("svg"), output = figure.querySelector(".at");
  const lines = groups(figure);
  if (!lines.length) continue;
  output.setAttribute("aria-live", "polite");
  const hint = isFirst ? HINT : "\u00a0";
  isFirst = false;
  output.textContent = hint;
  const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  circle.setAttribute("class", "cursor");
  circle.setAttribute("r", "5");
  let chosen = null;
  const show = (g, i) => {
    chosen = [g, i];
    const point = lines[g][i];
    circle.setAttribute("cx", point.x);
    circle.setAttribute("cy", point.y);
    svg.append(circle);
    output.textContent = point.text;
  };
  const follow = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    show(...nearest(lines, place.x, place.y));
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "mouse") return;
    circle.remove();
    output.textContent = hint;
    chosen = null;
  });
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    if (!chosen) return show(0, 0);
    let [g, i] = chosen;
    if (step[1] > 0 && i === lines[g].length - 1 && g < lines.length - 1) return show(g + 1, 0);
    if (step[1] < 0 && i === 0 && g > 0) return show(g - 1, lines[g - 1].length - 1);
    g = Math.min(Math.max(g + step[0], 0), lines.length - 1);
    i = Math.min(Math.max(i + step[1], 0), lines[g].length - 1);
    show(g, i);
  });
}

// Anchors: in a frame without an address of its own, they would load another page.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const heading = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!heading) return;
  event.preventDefault();
  heading.scrollIntoView();
  heading.focus({ preventScroll: true });
});

// Print everything: what is folded, too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});
