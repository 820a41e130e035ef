// The page: each section on its own, so that one that fails leaves the others.
async function begin() {
  $("answer").append(num(look.prediction.p));
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old for this page: use one of 2023 or later");
  await unpack();
  for (const section of [pixelSection, firstSection, layerSection, headSection, probabilitySection, ...(look.step ? [stepSection] : [])]) {
    try { section(); } catch (error) { trouble(error); }
  }
  document.body.dataset.ready = "yes";
}

function firstSection() {
  if (!look.first)
    $("first-work").append(el("p", {}, "This net has neither a convolution nor a dense layer among its modules:"
      + " its first layer cannot be taken apart here."));
  else if (look.first.kind === "none")
    $("first-work").append(el("p", {}, bdi(look.first.name), ` (${look.first.layer}): ${look.first.why}`));
  else if (look.first.kind === "conv") convolutionSection();
  else denseSection();
}

function trouble(error) {
  $("trouble").hidden = false;
  $("trouble").textContent = `A part of this page could not be drawn: ${error.message}`;
}

document.addEventListener("recolour", () => {
  document.querySelectorAll(".grid").forEach(grid => {
    const cells = [...grid.querySelectorAll("td")], peak = peakOf(cells.map(cell => Number(cell.dataset.v)));
    cells.forEach(cell => {
      const { back, ink } = shade(Number(cell.dataset.v), peak);
      cell.style.background = back; cell.style.color = ink;
    });
  });
});
begin().catch(trouble);
