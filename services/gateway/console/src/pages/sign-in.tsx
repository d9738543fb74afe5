import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { asProblem, Problem } from "../api/problem";
import { config, expired } from "../auth/session";
import { signIn, signInAgain, signInWithKey, trouble } from "../auth/sign-in";
import { words } from "../locale";
import { SignOut } from "../ui/account";
import { Failure } from "../ui/failure";
import { Field } from "../ui/field";
import { useTitle } from "../ui/hooks";

/** What is shown before anybody has signed in, at whichever address. */
export function SignInPage() {
  const t = words.value.signIn;
  useTitle(t.title);
  return (
    <section class="card signin">
      <h1>{t.title}</h1>
      <p class="lead">{t.text}</p>
      <Ways begin={signIn} />
    </section>
  );
}

/** Asks the user to sign in again, over the page, which waits. It stays: without it, the page would wait for ever. */
export function SignInAgain() {
  const t = words.value.signIn;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const why = expired.value;
  const stay = () => expired.peek() && dialog.current?.showModal(); // a second Escape, or Back on a phone, closes it all the same
  return (
    <dialog ref={dialog} class="signin" aria-labelledby="again-title" onCancel={(e) => e.preventDefault()} onClose={stay}>
      <h2 id="again-title">{t.again}</h2>
      {why && <p>{t.againText[why.reason]}</p>}
      <Ways begin={signInAgain} />
      <div class="row end"><SignOut /></div>
    </dialog>
  );
}

/** The ways to sign in that the server has. */
function Ways({ begin }: { begin: () => Promise<void> }) {
  const t = words.value.signIn;
  const busy = useSignal(false);
  const go = async () => {
    busy.value = true;
    await begin();
    busy.value = false;
  };
  const ways = config.value;
  return (
    <div class="ways">
      {trouble.value instanceof Problem && <Failure of={trouble.value} />}
      {typeof trouble.value === "string" && <p class="failure" role="alert">{t.trouble[trouble.value]}</p>}
      {ways?.oidc && <button type="button" class="button large" disabled={busy.value} onClick={() => void go()}>{t.provider}</button>}
      {ways?.oidc && ways.api_keys && <p class="or"><span>{t.or}</span></p>}
      {ways?.api_keys && <KeyForm />}
      {ways && !ways.oidc && !ways.api_keys && <p>{t.nothing}</p>}
    </div>
  );
}

function KeyForm() {
  const t = words.value.signIn;
  const key = useSignal("");
  const missing = useSignal(false);
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const submit = async (e: Event) => {
    e.preventDefault();
    const given = key.value.trim();
    missing.value = given === "";
    problem.value = null;
    if (missing.value) {
      return;
    }
    busy.value = true;
    try {
      await signInWithKey(given);
    } catch (thrown) {
      problem.value = asProblem(thrown);
    } finally {
      busy.value = false;
    }
  };
  const refused = problem.value?.status === 401;
  const error = missing.value ? t.needKey : refused ? t.keyRefused : undefined;
  return (
    <form class="form" noValidate onSubmit={(e) => void submit(e)}>
      <Field label={t.key} value={key.value} set={(value) => (key.value = value)} hint={t.keyHint} error={error} required type="password" autoComplete="off" spellcheck={false} />
      {!refused && <Failure of={problem.value} />}
      <button class="plain" disabled={busy.value}>{t.useKey}</button>
    </form>
  );
}
