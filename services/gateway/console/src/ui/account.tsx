import { useSignal } from "@preact/signals";
import { session, userName } from "../auth/session";
import { signOut } from "../auth/sign-in";
import { dropRecording, given, take } from "../audio/draft";
import { unfinished } from "../audio/recordings";
import { words } from "../locale";
import { Confirm } from "./confirm";
import { Icon } from "./icons";

/** Who is signed in, and the way out. */
export function Account() {
  const t = words.value.signIn;
  if (session.value === null) {
    return null;
  }
  const name = userName.value || t.key;
  return (
    <div class="account">
      <p class="who" title={`${t.signedIn} ${name}`}>
        <Icon name={session.value.by === "key" ? "key" : "user"} />
        <span class="unseen">{t.signedIn}</span>
        <span class="name">{name}</span>
      </p>
      <SignOut />
    </div>
  );
}

/** Signs out, and asks before where recordings would be lost. */
export function SignOut() {
  const t = words.value.signIn;
  const asking = useSignal(false);
  const leave = async () => {
    dropRecording();
    given.value = null; // else the browser would ask once more
    await signOut();
  };
  const ask = async () => {
    if (take.value !== null || given.value !== null || (await unfinished()).length > 0) {
      asking.value = true;
    } else {
      await leave();
    }
  };
  return (
    <>
      <button type="button" class="bare" onClick={() => void ask()}>{t.signOut}</button>
      {asking.value && (
        <Confirm title={t.signOutTitle} text={t.signOutText} action={t.signOut} done={(yes) => ((asking.value = false), yes && void leave())} />
      )}
    </>
  );
}
