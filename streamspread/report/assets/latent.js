// The latent space: points on a canvas, as there are thousands of them.

function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function startLatent() {
  const canvas = $("latent");
  const view = {embedding: data.embeddings[0], layer: null, only: -1};
  const names = () => {
    const {classes, labels} = view.embedding;
    if (!labels) return [];
    const last = labels.reduce((most, label) => Math.max(most, label), 0);
    return Array.from({length: last + 1}, (_, label) => classes?.[label] ?? String(label));
  };
  for (const embedding of data.embeddings) {
    if (embedding.labels) embedding.labels = decode(embedding.labels, Uint16Array);
    for (const layer of embedding.layers) layer.points = decode(layer.points, Uint16Array);
  }
  const place = (layer, index, size) => {
    const margin = 14, inner = size - 2 * margin;
    return [margin + (layer.points[2 * index] / 65535) * inner, margin + (1 - layer.points[2 * index + 1] / 65535) * inner];
  };

  function paintPoints() {
    const size = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    if (!size) return;
    canvas.style.height = `${size}px`;
    canvas.width = canvas.height = Math.round(size * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const {labels} = view.embedding, total = view.layer.points.length / 2;
    const radius = Math.max(1.1, Math.min(3.2, 160 / Math.sqrt(total)));
    const style = getComputedStyle(document.documentElement);
    const soft = style.getPropertyValue("--soft"), ground = style.getPropertyValue("--panel");
    const colors = Array.from({length: 10}, (_, label) => style.getPropertyValue(`--c${label}`));
    for (let i = 0; i < total; i++) {
      const label = labels ? labels[i] : 0;
      const on = view.only < 0 || label === view.only;
      const [px, py] = place(view.layer, i, size);
      pen.globalAlpha = on ? 0.85 : 0.12;
      pen.fillStyle = on ? colors[label % 10] : soft;
      pen.beginPath();
      pen.arc(px, py, radius, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.lineWidth = 4;
    pen.strokeStyle = ground;
    for (const {name, label, x, y} of namedPlaces(size, pen)) {
      pen.fillStyle = colors[label % 10];
      pen.strokeText(name, x, y);
      pen.fillText(name, x, y);
    }
  }

  // Where the classes that lie apart from each other are named: colours alone do not tell ten of them apart.
  function namedPlaces(size, pen) {
    const {labels} = view.embedding, found = [];
    const median = values => values.sort((a, b) => a - b)[values.length >> 1];
    names().forEach((name, label) => {
      const places = [];
      labels.forEach((other, i) => other === label && places.push(place(view.layer, i, size)));
      if (!places.length || (view.only >= 0 && view.only !== label)) return;
      const [x, y] = [median(places.map(p => p[0])), median(places.map(p => p[1])) + 4];
      const width = pen.measureText(name).width;
      if (found.every(one => Math.abs(one.x - x) > (one.width + width) / 2 + 4 || Math.abs(one.y - y) > 16))
        found.push({name, label, x, y, width});
    });
    return found;
  }

  function show() {
    const {share, axes, layer} = view.layer;
    const text = share === null ? texts.latent_constant : texts.latent_layer;
    $("latent-caption").textContent = fill(text, {layer, space: " ", k: axes, share: share === null ? "" : (100 * share).toFixed(1)});
    $("latent-legend").replaceChildren(...names().map((name, label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(view.only < 0 || view.only === label));
      const key = element("svg", {viewBox: "0 0 30 12", "aria-hidden": "true"}, button);
      element("circle", {cx: 15, cy: 6, r: 5, fill: `var(--c${label % 10})`}, key);
      button.append(name);
      button.addEventListener("click", () => {
        view.only = view.only === label ? -1 : label;
        show();
        $("latent-legend").children[label].focus();
      });
      return button;
    }));
    paintPoints();
  }

  function choose(embedding, name) {
    view.embedding = embedding;
    view.layer = embedding.layers.find(layer => layer.layer === name) ?? embedding.layers.at(-1);
    options($("latent-layer"), embedding.layers.map(layer => [layer.layer, layer.layer]), view.layer.layer);
    show();
  }

  options($("latent-run"), data.embeddings.map((embedding, index) => [index, embedding.name]), 0);
  $("latent-run").addEventListener("change", () => choose(data.embeddings[$("latent-run").value], view.layer.layer));
  $("latent-layer").addEventListener("change", () => choose(view.embedding, $("latent-layer").value));
  canvas.addEventListener("pointermove", event => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1, nearest = 12 ** 2;
    for (let i = 0; i < view.layer.points.length / 2; i++) {
      const [px, py] = place(view.layer, i, canvas.clientWidth);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < nearest) [best, nearest] = [i, distance];
    }
    if (best < 0) return hideTip();
    const label = view.embedding.labels ? names()[view.embedding.labels[best]] : "";
    showTip(`${fill(texts.image, {index: count(best)})}\n${label}`.trim(), event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", hideTip);
  addEventListener("resize", paintPoints);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintPoints);
  choose(data.embeddings[0], "");
}

start();
