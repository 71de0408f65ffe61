"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const stored = (id) => JSON.parse(find(id).textContent);
  const shared = stored("shared");
  const rows = [...document.querySelectorAll("#table tbody tr")];
  let chosen = null;
  let layers = null; // of the chosen image: { heat, mask }, as pixels of the overlay's size

  const SIDE = 640; // pixels along the overlay's longer side
  const THRESHOLD = 126; // of a map's grey values, which are 124 below the threshold and 128 above it
  const CLEAR = 0.4 * 256, HOT = 0.75 * 256; // colour and opacity rise between them, as in the heat maps of predict
  const COLOURS = [[255, 242, 64], [255, 140, 13], [217, 0, 13]]; // yellow over orange to red

  // The list ----------------------------------------------------------------------------------------------------------

  // A picture is decoded when its row comes into view, so that thousands of rows cost nothing.
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      target.querySelector("img").src = stored(`image-${target.dataset.number}`).picture;
      seen.unobserve(target);
    }
  }, { root: find("list"), rootMargin: "300px" });

  const visible = () => rows.filter((row) => !row.hidden);

  function filter() {
    const word = find("search").value.trim().toLowerCase();
    const kind = document.querySelector("#filters [aria-pressed=true]").dataset.filter;
    for (const row of rows) {
      const { name, label, outcome } = row.dataset;
      row.hidden = !name.toLowerCase().includes(word) || (kind !== "" && kind !== label && kind !== outcome);
    }
    const left = visible();
    find("nothing").hidden = left.length > 0;
    if (left.length && !left.includes(chosen)) choose(left[0]);
  }

  function step(by) {
    const left = visible();
    if (!left.length) return;
    const place = left.indexOf(chosen) + by;
    choose(left[Math.min(Math.max(place, 0), left.length - 1)]);
  }

  function saveCsv() {
    const lines = [...visible(), ...document.querySelectorAll("#unreadable li")].map((row) => row.dataset.csv);
    const content = [document.querySelector("footer").dataset.columns + "\r\n", ...lines];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(content, { type: "text/csv" }));
    link.download = "report.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // The chosen image --------------------------------------------------------------------------------------------------

  async function choose(row) {
    if (chosen) chosen.removeAttribute("aria-selected");
    chosen = row;
    row.setAttribute("aria-selected", "true");
    row.scrollIntoView({ block: "nearest" });
    const image = stored(`image-${row.dataset.number}`);
    tell(row.dataset, image);
    const picture = find("picture");
    picture.src = image.picture;
    picture.alt = row.dataset.name;
    layers = null;
    find("truth").hidden = !image.mask;
    await picture.decode().catch(() => {});
    const scale = SIDE / Math.max(picture.naturalWidth, picture.naturalHeight);
    const size = [picture.naturalWidth, picture.naturalHeight].map((side) => Math.max(1, Math.round(side * scale)));
    const [heat, mask] = await Promise.all([image.heat, image.mask].map((uri) => uri && pixels(uri, size)));
    if (chosen !== row) return; // another was chosen meanwhile
    layers = { heat, mask, size };
    draw();
  }

  async function pixels(uri, [width, height]) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data.filter((_, place) => place % 4 === 0);
  }

  function draw() {
    if (!layers) return;
    const [width, height] = layers.size;
    const canvas = Object.assign(find("overlay"), { width, height });
    const context = canvas.getContext("2d");
    const out = context.createImageData(width, height);
    const strength = find("opacity").value / 100;
    find("percent").textContent = `${find("opacity").value} %`;
    if (layers.heat) layers.heat.forEach((value, place) => {
      const heat = Math.min(Math.max((value - CLEAR) / (HOT - CLEAR), 0), 1);
      if (heat > 0) put(out.data, place, colour(heat), 255 * strength * Math.sqrt(heat));
    });
    if (layers.mask && find("outline").checked) edge(out.data, layers.mask, width, [124, 240, 106]);
    if (layers.heat && find("contour").checked) edge(out.data, layers.heat, width, [34, 211, 238]);
    context.putImageData(out, 0, 0);
  }

  function edge(data, values, width, rgb) {
    for (let place = width; place < values.length - width; place++) {
      if (values[place] < THRESHOLD) continue;
      const around = [place - 1, place + 1, place - width, place + width];
      // Two pixels wide, to both sides of the line.
      if (around.some((next) => values[next] < THRESHOLD)) [place, ...around].forEach((at) => put(data, at, rgb, 255));
    }
  }

  function put(data, place, rgb, alpha) {
    data.set([...rgb, alpha], 4 * place);
  }

  function colour(heat) {
    const place = Math.min(heat * (COLOURS.length - 1), COLOURS.length - 1.001);
    const [from, to] = COLOURS.slice(Math.floor(place));
    return from.map((value, channel) => value + (to[channel] - value) * (place % 1));
  }

  // What is said of it ------------------------------------------------------------------------------------------------

  const OUTCOMES = { TP: "and it is", FP: "but it is normal", FN: "but it is anomalous", TN: "and it is" };

  function tell({ name, score, raw, label, outcome }, image) {
    find("name").textContent = name;
    const verdict = Object.assign(document.createElement("span"), { className: `verdict ${label}`, textContent: label });
    find("verdict").replaceChildren(verdict, outcome ? ` ${OUTCOMES[outcome]} (${outcome})` : "");
    const small = document.createElement("small");
    const threshold = shared.threshold === null ? "no threshold" : `threshold ${shared.threshold.toPrecision(4)}`;
    small.textContent = score === (+raw).toFixed(4) ? threshold : `raw score ${raw}, ${threshold}`;
    find("scores").replaceChildren(score, small);
    const below = shared.normals.filter((normal) => normal < raw).length;
    const count = shared.normals.length;
    const share = Math.round((100 * below) / count);
    find("place").textContent = count ? `Higher than ${below} of ${count} normals (${share} %): ${shared.normalsAre}.` : "";
    strip(+raw);
    supports(image);
  }

  function strip(raw) {
    const all = [...shared.normals, raw, shared.threshold ?? raw];
    const logarithmic = Math.min(...all) > 0;
    const at = (value) => (logarithmic ? Math.log(value) : value);
    const low = at(Math.min(...all)), high = at(Math.max(...all));
    const x = (value) => 20 + (360 * (at(value) - low)) / (high - low || 1);
    const line = (value, kind, top) => shape("line", { x1: x(value), x2: x(value), y1: top, y2: 44, class: kind });
    const marks = [shape("line", { x1: 10, x2: 390, y1: 44, y2: 44, class: "axis" })];
    marks.push(...shared.normals.map((value) => line(value, "normal", 30)));
    if (shared.threshold !== null) marks.push(line(shared.threshold, "threshold", 14), label(x(shared.threshold), 60, "threshold"));
    marks.push(shape("path", { d: `M${x(raw)} 42l-7-13h14z`, class: "this" }), label(x(raw), 22, "this image"));
    find("strip").replaceChildren(...marks);
    find("strip").setAttribute("aria-label", "Scores of the normals, the threshold, and this image");
  }

  function shape(kind, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function label(x, y, text) {
    const anchor = x < 60 ? "start" : x > 340 ? "end" : "middle";
    const element = shape("text", { x, y, "text-anchor": anchor });
    element.textContent = text;
    return element;
  }

  const SHOWN = 8;

  function supports({ weights = [], nearest }) {
    const order = [...shared.supports.keys()].sort((a, b) => (weights[b] ?? 0) - (weights[a] ?? 0));
    find("compared").hidden = order.length === 0;
    find("supports").replaceChildren(...order.slice(0, SHOWN).map((k) => support(k, weights[k], nearest)));
    const rest = order.slice(SHOWN);
    const weight = rest.reduce((sum, k) => sum + (weights[k] ?? 0), 0);
    find("rest").textContent = rest.length ? `and ${rest.length} others, together ${weight.toFixed(2)}` : "";
  }

  function support(k, weight, nearest) {
    const { name, picture } = shared.supports[k];
    const item = Object.assign(document.createElement("li"), { title: name });
    if (picture) {
      const shot = Object.assign(document.createElement("span"), { className: "shot" });
      shot.append(Object.assign(new Image(), { src: picture, alt: name }));
      if (nearest && nearest[0] === k) shot.append(box(nearest.slice(1)));
      item.append(shot);
    }
    if (weight !== undefined) item.append(Object.assign(document.createElement("meter"), { value: weight }), weight.toFixed(2), " ");
    item.append(name.split("/").pop());
    return item;
  }

  function box([left, top, right, bottom]) {
    const element = Object.assign(document.createElement("span"), { className: "box", title: "the nearest patch" });
    const share = (value) => `${100 * value}%`;
    Object.assign(element.style, { left: share(left), top: share(top), width: share(right - left), height: share(bottom - top) });
    return element;
  }

  // Hands -------------------------------------------------------------------------------------------------------------

  const KEYS = {
    ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
    Home: () => step(-Infinity), End: () => step(Infinity),
    o: () => { const slider = find("opacity"); slider.value = +slider.value ? 0 : 45; draw(); },
    c: () => { find("contour").checked = !find("contour").checked; draw(); },
    "/": () => find("search").focus(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.activeElement.blur();
    if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  find("table").addEventListener("click", ({ target }) => { const row = target.closest("tbody tr"); if (row) choose(row); });
  find("search").addEventListener("input", filter);
  find("filters").addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (!button) return;
    for (const other of find("filters").children) other.setAttribute("aria-pressed", String(other === button));
    filter();
  });
  for (const id of ["opacity", "contour", "outline"]) find(id).addEventListener("input", draw);
  find("csv").addEventListener("click", saveCsv);
  find("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  rows.forEach((row) => seen.observe(row));
  if (rows.length) choose(rows[0]);
})();
