// Section 3: every layer with its maps, those of large nets in groups that open.
function layerCard(layer) {
  const shape = layer.shape.join(" × "), learnt = layer.parameters ? `, ${whole(layer.parameters)} learnt numbers` : "";
  const sizes = layer.about && layer.parameters ? `, ${layer.about}` : "", said = layer.words || (layer.parameters ? "" : layer.about);
  const made = el("div", { class: "layer" },
    el("h3", {}, bdi(layer.name), el("span", { class: "soft" }, ` ${layer.kind}${sizes}`)),
    el("p", { class: "soft" }, `gives ${shape}${learnt}; values from `, num(layer.low), " to ", num(layer.high)));
  if (said) made.append(el("p", {}, said));
  if (layer.form !== "none") made.append(layerMaps(layer));
  return made;
}

function layerMaps(layer) {
  const values = array(layer.maps), [count, height, width] = layer.maps.shape;
  const canvasOf = (k, label) => {
    const canvas = el("canvas", { role: "img", "aria-label": label });
    heat(canvas, values, height, width, 127, k * height * width);
    return canvas;
  };
  if (layer.form !== "maps")
    return el("div", { class: "row" }, canvasOf(0, `The values of ${layer.name}, in lines of ${width}`));
  return el("div", { class: "maps" }, layer.channels.slice(0, count).map((c, k) => el("figure", {},
    canvasOf(k, `Map ${c} of ${layer.name}`), el("figcaption", {}, `map ${c}${k === 0 ? ` of ${layer.total}` : ""}`))));
}

function layerSection() {
  const place = $("layer-work"), left = look.left_out;
  let group = null, inside = [];
  const close = () => {
    if (!inside.length) return;
    const held = inside, last = held[held.length - 1], box = el("div", {});
    const words = ` ${held.length} steps, gives ${last.shape.join(" × ")}`;
    const fold = el("details", { class: "group" }, el("summary", {}, bdi(group), el("span", { class: "soft" }, words)), box);
    fold.addEventListener("toggle", () => { if (fold.open && !box.children.length) box.append(...held.map(layerCard)); });
    place.append(fold, layerCard(last));
    inside = [];
  };
  if (left.maps) place.append(el("p", {}, "No maps fit beside the other numbers of this page: the layers are listed without them."));
  for (const layer of look.layers) {
    if (layer.group !== group) { close(); group = layer.group; }
    if (layer.group) inside.push(layer); else place.append(layerCard(layer));
  }
  close();
  if (left.layers) place.append(el("p", {}, `The ${whole(left.layers)} layers after these do not fit on this page.`));
}
