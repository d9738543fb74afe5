// Drawn on a grid of 20, with lines of 1.6; they say nothing to screen readers.

const paths = {
  auto: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  light: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  dark: "M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7z",
  microphone: "M10 2.5a2.5 2.5 0 0 0-2.5 2.5v5a2.5 2.5 0 0 0 5 0V5A2.5 2.5 0 0 0 10 2.5M4.5 9.5a5.5 5.5 0 0 0 11 0M10 15v2.5",
  file: "M10 13V3.5M6.5 7 10 3.5 13.5 7M3.5 13v3.5h13V13",
  link: "M8.5 11.5a3 3 0 0 0 4.3 0l2.9-2.9a3 3 0 0 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-2.9 2.9a3 3 0 0 0 4.3 4.3l1-1",
  download: "M10 3.5V13M6.5 9.5 10 13l3.5-3.5M3.5 13v3.5h13V13",
  play: "M6.5 4.2v11.6l9-5.8z",
  pause: "M7 4.5v11M13 4.5v11",
  stop: "M5.5 5.5h9v9h-9z",
  back: "M12 4.5 6.5 10l5.5 5.5",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M13 13l4 4",
  plus: "M10 4v12M4 10h12",
  cross: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  key: "M12.5 3.5a4 4 0 1 0 0 8 4 4 0 0 0 0-8M9.6 10.4 3.5 16.5M5.5 14.5l2 2",
  user: "M10 3.5a3.25 3.25 0 1 0 0 6.5 3.25 3.25 0 0 0 0-6.5M3.5 17c.6-3.2 3.2-5 6.5-5s5.9 1.8 6.5 5",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
};

export function Icon({ name, solid = false }: { name: keyof typeof paths; solid?: boolean }) {
  return (
    <svg class={solid ? "icon solid" : "icon"} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {name === "auto" && <path class="half" d="M10 3a7 7 0 1 0 0 14z" />}
      <path d={paths[name]} />
    </svg>
  );
}
