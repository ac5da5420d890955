"""How well the texts of a page can be told from what is behind them."""

from __future__ import annotations

CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((node) => node.checkVisibility() && !node.disabled && !["TITLE", "SCRIPT"].includes(node.tagName))
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .map((node) => {
      const style = getComputedStyle(node), ink = node.ownerSVGElement ? style.fill : style.color;
      const [a, b] = [light(ink), light(behind(node))];
      return [node.tagName + " " + node.textContent.slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}"""
"""JavaScript: [text, contrast ratio] of each text that is shown, by WCAG 2.2."""
