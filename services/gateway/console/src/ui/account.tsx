import { useSignal } from "@preact/signals";
import { session, userName } from "../auth/session";
import { signOut } from "../auth/sign-in";
import { given } from "../audio/draft";
import { unfinished } from "../audio/recordings";
import { words } from "../locale";
import { Confirm } from "./confirm";
import { Icon } from "./icons";

/** Who is signed in, and the way out. */
export function Account() {
  const t = words.value.signIn;
  const asking = useSignal(false);
  if (session.value === null) {
    return null;
  }
  const leave = async () => {
    if (given.value !== null || (await unfinished()).length > 0) {
      asking.value = true;
    } else {
      await signOut();
    }
  };
  const name = userName.value || t.key;
  return (
    <div class="account">
      <p class="who" title={`${t.signedIn} ${name}`}>
        <Icon name={session.value.by === "key" ? "key" : "user"} />
        <span class="unseen">{t.signedIn}</span>
        <span class="name">{name}</span>
      </p>
      <button type="button" class="bare" onClick={() => void leave()}>{t.signOut}</button>
      {asking.value && (
        <Confirm title={t.signOutTitle} text={t.signOutText} action={t.signOut} done={(yes) => ((asking.value = false), yes && void signOut())} />
      )}
    </div>
  );
}
