/**
 * A text that changes while its page is shown. Its element changes with it: a browser that translates the page
 * puts other elements in place of the texts, which nobody would change any more.
 */
export function Changing({ text }: { text: string }) {
  return <span key={text}>{text}</span>;
}
