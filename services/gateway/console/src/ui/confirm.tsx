import { useEffect, useRef } from "preact/hooks";
import { words } from "../locale";

interface ConfirmProps {
  title: string;
  text: string;
  action: string;
  done: (confirmed: boolean) => void;
}

/** Asks before what cannot be undone. The browser keeps the focus inside. */
export function Confirm({ title, text, action, done }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="confirm-title" onClose={() => done(dialog.current?.returnValue === "yes")}>
      <form method="dialog">
        <h2 id="confirm-title">{title}</h2>
        <p>{text}</p>
        <div class="row end">
          <button class="plain" value="no">{words.value.actions.keep}</button>
          <button class="danger" value="yes">{action}</button>
        </div>
      </form>
    </dialog>
  );
}
