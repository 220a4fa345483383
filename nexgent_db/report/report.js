// The search: only what has every word stays. The page is complete without it.
"use strict";
const box = document.createElement("input");
box.type = "search";
box.placeholder = "Filter tables and queries ( / )";
box.setAttribute("aria-label", "Filter tables and queries");
const count = document.createElement("output");
document.querySelector("header").append(box, count);
const articles = [...document.querySelectorAll("[data-find]")];
const texts = new Map(articles.map((article) => [article, article.textContent.toLowerCase()]));

function filter() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const article of articles) {
    article.hidden = !words.every((word) => texts.get(article).includes(word));
    shown += !article.hidden;
  }
  document.getElementById("diagram").hidden = words.length > 0;
  count.value = words.length ? `${shown} of ${articles.length}` : "";
}

// A link to something that is filtered away shows it; "#q=words" filters.
function follow() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted.startsWith("q=")) {
    box.value = wanted.slice(2);
  } else if (document.getElementById(wanted)?.closest("[hidden]")) {
    box.value = "";
  } else {
    return;
  }
  filter();
  document.getElementById(wanted)?.scrollIntoView();
}

box.addEventListener("input", filter);
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== box) {
    event.preventDefault();
    box.focus();
  }
});
follow();
