// Before the first paint: the theme and the language that were chosen the last time. A file, as the page allows no inline script.
try {
  const { theme, locale } = localStorage;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (locale) document.documentElement.lang = locale;
} catch {} // no storage here
