/** Every icon as strokes on a 24 x 24 sheet, drawn here. */

export const ICONS = {
  brush: "M4 20c3 0 4-1 4-3a3 3 0 0 1 3-3l8-9a1.6 1.6 0 0 0-2.3-2.2L8 11",
  eraser: "M4 16 13 6.5a2 2 0 0 1 2.8 0L19.5 10a2 2 0 0 1 0 2.8L13 19.5H7.5L4 16M9 11l6 6M12 20h8",
  grid: "M4 4h7v9H4zM14 4h6v5h-6zM14 12h6v8h-6zM4 16h7v4H4z",
  curve: "M4 4v16h16M7 7c1 7 5 9 12 9.5",
  lens: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20 20",
  book: "M12 6c-2-1.5-5-2-8-1.5V18c3-.5 6 0 8 1.5 2-1.5 5-2 8-1.5V4.5c-3-.5-6 0-8 1.5zM12 6v13",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M19 5l-1.4 1.4M6.4 17.6 5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  dice: "M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1zM8.5 8.5h.01M15.5 8.5h.01M12 12h.01M8.5 15.5h.01M15.5 15.5h.01",
  branch: "M7 4v16M7 14c6 0 10-2 10-7M14 9l3-3 3 3",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  cross: "M6 6l12 12M18 6 6 18",
  undo: "M8 5 4 9l4 4M4 9h9a6 6 0 0 1 0 12H9",
  redo: "M16 5l4 4-4 4M20 9h-9a6 6 0 0 0 0 12h4",
  box: "M4 4h4M12 4h4M20 4v4M20 12v4M20 20h-4M12 20H8M4 20v-4M4 12V8",
  bin: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01",
  check: "M5 12.5 10 18 19 7",
  warn: "M12 4 2.5 20h19zM12 10v5M12 17.5h.01",
} as const satisfies Record<string, string>;

export type IconName = keyof typeof ICONS;
