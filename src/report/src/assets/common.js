// What all pages have: the switch between light and dark, the copy button, printing.
const $ = id => document.getElementById(id);
const on = (id, event, act) => { const el = $(id); if (el) el.addEventListener(event, act); };

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
on("theme", "click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("seatrial-theme", theme); } catch (_) { /* holds for this page only */ }
});

on("copy", "click", () => {
  const copy = $("copy"), code = $("replay");
  const done = () => { copy.textContent = "Copied"; setTimeout(() => { copy.textContent = "Copy"; }, 1500); };
  const select = () => {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    document.execCommand("copy");
    done();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select); else select();
});

// What is folded away is not printed.
addEventListener("beforeprint", () => { for (const el of document.querySelectorAll("details")) el.open = true; });
