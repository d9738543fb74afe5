/** Has the browser open no file in place of the page, if it is dropped beside the zone that takes it. */
export function openNoDroppedFile(): void {
  const refuse = (e: DragEvent) => {
    if (!e.defaultPrevented && e.dataTransfer?.types.includes("Files")) {
      e.preventDefault();
      e.dataTransfer.dropEffect = "none";
    }
  };
  addEventListener("dragover", refuse);
  addEventListener("drop", refuse);
}
