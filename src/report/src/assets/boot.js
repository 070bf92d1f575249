(() => {
  const root = document.documentElement;
  root.classList.add("js");
  // Some browsers keep nothing for pages from a disk.
  try {
    const kept = localStorage.getItem("seatrial-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch (_) { /* the system's wish holds */ }
})();
