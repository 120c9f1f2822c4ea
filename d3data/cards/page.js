"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const classes = JSON.parse(find("data").textContent);
  const section = find("walk");
  const slider = find("walk-slider");
  let chosen = classes[0];

  const isolated = (text) => {
    const element = document.createElement("bdi");
    element.textContent = text;
    return element;
  };

  const quoted = (text) => ["\u201c", isolated(text), "\u201d"];

  const fill = (place, addresses, hints) => {
    place.replaceChildren(...addresses.map((address, number) => {
      const image = new Image();
      image.alt = "";
      image.src = address;
      if (hints) image.title = hints[number];
      return image;
    }));
  };

  const step = () => {
    const at = Number(slider.value);
    const share = Math.round((100 * at) / (chosen.walk.length - 1));
    find("walk-frame").src = chosen.walk[at];
    slider.setAttribute("aria-valuetext", `${share} % of the way`);
  };

  const show = (number) => {
    chosen = classes[number];
    const draws = `${chosen.draws.length} draws of `;
    const means = `${chosen.means.length} of ${chosen.items} priors of `;
    fill(find("draws"), chosen.draws, chosen.hints);
    find("draws").setAttribute("aria-label", `${draws}\u201c${chosen.name}\u201d`);
    find("draws-caption").replaceChildren(draws, ...quoted(chosen.name));
    if (find("means")) {
      fill(find("means"), chosen.means);
      find("means").setAttribute("aria-label", `${means}\u201c${chosen.name}\u201d, without noise`);
      find("means-caption").replaceChildren(means, ...quoted(chosen.name), ", without noise");
    }
    if (!section) return;
    section.hidden = chosen.walk.length === 0;
    if (section.hidden) return;
    find("walk-start").src = chosen.walk[0];
    find("walk-end").src = chosen.walk[chosen.walk.length - 1];
    const [start, end] = chosen.ends.map(isolated);
    find("walk-caption").replaceChildren("From ", start, " to ", end);
    slider.value = "0";
    step();
  };

  for (const input of document.querySelectorAll("input[name=class]")) {
    input.addEventListener("change", () => show(Number(input.value)));
  }
  if (slider) {
    slider.addEventListener("input", step);
    if (chosen.walk.length) step();
  }
})();
