// Functions that run in the page, and see what a reader sees. Each must stand for
// itself.

// rows returns the rows of the table.
export function rows() {
  return [...document.querySelectorAll('tbody tr[id^="k"]')].map((tr) => {
    const [id, state, why, source, remaining, attempts, rejections] = [...tr.cells].map((cell) => cell.textContent);
    const buttons = [...tr.querySelectorAll('button')].map((button) => button.textContent);
    return { id, state, class: why, source, remaining, attempts: Number(attempts), rejections: Number(rejections), buttons };
  });
}

// overflow returns what makes the page wider than the window. A phone's innerWidth
// would grow with it.
export function overflow(width) {
  const { scrollWidth } = document.documentElement;
  // A table may scroll within itself where windows are small. Elsewhere its last columns
  // would lie behind the buttons.
  const hidden = [...document.querySelectorAll('.scroll')].filter((e) => width >= 1024 && e.scrollWidth > e.clientWidth);
  if (hidden.length) return hidden.map((e) => `${e.scrollWidth} > ${e.clientWidth} ${e.outerHTML.slice(0, 80)}`);
  if (scrollWidth <= width) return [];
  const wide = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > width);
  return [`${scrollWidth} > ${width}`, ...wide.map((e) => e.outerHTML.slice(0, 80))];
}

// contrast returns how many texts it has looked at, and those that WCAG 2.2 AA
// would not let pass as normal text: less than 4.5 to 1 (1.4.3). Inactive
// components are exempt there.
export function contrast() {
  const inactive = '.pager span';
  const unseen = (e) => !e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || e.closest('.unseen, .skip, title');
  const rgba = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    if (!text.startsWith('rgb')) throw new Error(`a colour like ${text} is not understood`);
    return { rgb: [r, g, b], a };
  };
  const over = (top, a, below) => top.map((c, i) => c * a + below[i] * (1 - a));
  const chain = (e) => (e ? [e, ...chain(e.parentElement)] : []);
  const ground = (e) =>
    chain(e).reduceRight((below, at) => {
      const { rgb, a } = rgba(getComputedStyle(at).backgroundColor);
      return over(rgb, a, below);
    }, rgba(getComputedStyle(document.body).backgroundColor).rgb);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (e, pseudo) => {
    const opacity = chain(e).reduce((product, at) => product * getComputedStyle(at).opacity, 1);
    const { rgb, a } = rgba(getComputedStyle(e, pseudo).color);
    const below = ground(e);
    const [dark, light] = [luminance(below), luminance(over(rgb, a * opacity, below))].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };

  const found = { looked: 0, poor: [] };
  const look = (e, text, pseudo) => {
    if (unseen(e) || e.closest(inactive)) return;
    found.looked++;
    const r = ratio(e, pseudo);
    if (r < 4.5) found.poor.push(`${r.toFixed(2)}: ${e.tagName}.${e.className} ${pseudo ?? ''} ${text.trim().slice(0, 40)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, (node) =>
    node.data.trim() ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP,
  );
  while (texts.nextNode()) look(texts.currentNode.parentElement, texts.currentNode.data);
  for (const e of document.body.querySelectorAll('*')) {
    if (e.matches('input:not([type=hidden]), select')) look(e, e.value);
    if (e.placeholder) look(e, e.placeholder, '::placeholder');
    for (const pseudo of ['::before', '::after']) {
      const { content, visibility } = getComputedStyle(e, pseudo);
      if (/^".+"$/.test(content) && visibility === 'visible') look(e, content, pseudo);
    }
  }
  return found;
}
