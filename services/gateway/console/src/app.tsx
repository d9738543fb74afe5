import { useEffect, useRef } from "preact/hooks";
import { admitted, expired } from "./auth/session";
import { language, speak, words } from "./locale";
import { JobPage } from "./pages/job";
import { JobsPage } from "./pages/jobs";
import { NewPage } from "./pages/new";
import { SignInAgain, SignInPage } from "./pages/sign-in";
import { allJobs, href, type Route, route } from "./route";
import { started, startProblem } from "./start";
import { Account } from "./ui/account";
import { Failure } from "./ui/failure";
import { Icon } from "./ui/icons";
import { useTitle } from "./ui/hooks";
import { theme, turn } from "./ui/theme";
import { Toast } from "./ui/toast";

export function App() {
  const t = words.value;
  const main = useRef<HTMLElement>(null);
  const at = route.value;
  const first = useRef(true);
  // A new page begins at its top, for eyes and for screen readers; an upload that
  // becomes a job is the same page. Until the console has started, the page is not
  // known: the first one leaves the focus where it is, since its user may type already.
  const page = at.at === "upload" ? "job" : at.at;
  const here = started.value === "here";
  useEffect(() => {
    if (here && !first.current) {
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
    first.current = !here;
  }, [page, here]);
  useEffect(() => {
    document.documentElement.lang = language.value;
  }, [language.value]);
  return (
    <>
      <a class="skip" href="#content" onClick={(e) => (e.preventDefault(), main.current?.focus())}>{t.nav.skip}</a>
      <Header at={at} />
      <main id="content" ref={main} tabIndex={-1}>
        <Content at={at} />
      </main>
      {expired.value && <SignInAgain />}
      <Toast />
    </>
  );
}

/** A page, once it is known whether its user has to sign in, and has. */
function Content({ at }: { at: Route }) {
  if (started.value === "starting") {
    return startProblem.value ? <Failure of={startProblem.value} /> : <p class="quiet" role="status">{words.value.busy}</p>;
  }
  if (started.value === "elsewhere") {
    return <section class="empty"><p role="status">{words.value.signIn.done}</p></section>;
  }
  return admitted.value ? <Page at={at} /> : <SignInPage />;
}

function Header({ at }: { at: Route }) {
  const t = words.value;
  const current = (here: boolean) => (here ? ("page" as const) : undefined);
  return (
    <header class="top">
      <div class="inner">
        <a class="mark" href="#/" aria-label={t.name}>
          <svg viewBox="0 0 24 20" aria-hidden="true"><path d="M2 8v4M7 5v10M12 1v18M17 6v8M22 8v4" /></svg>
          <span>{t.name}</span>
        </a>
        <nav aria-label={t.nav.label}>
          {started.value === "here" && admitted.value && (
            <>
              <a href="#/" aria-current={current(at.at === "new")}>{t.nav.record}</a>
              <a href={href({ at: "jobs", filter: allJobs })} aria-current={current(at.at === "jobs")}>{t.nav.jobs}</a>
            </>
          )}
        </nav>
        <Account />
        <button type="button" class="bare" lang={language.value === "ko" ? "en" : "ko"} onClick={() => speak(language.value === "ko" ? "en" : "ko")}>
          {t.settings.language}
        </button>
        <button type="button" class="bare" aria-label={t.settings.theme[theme.value]} title={t.settings.theme[theme.value]} onClick={turn}>
          <Icon name={theme.value} />
        </button>
      </div>
    </header>
  );
}

function Page({ at }: { at: Route }) {
  switch (at.at) {
    case "new":
      return <NewPage token={at.token} />;
    case "upload":
      return <JobPage upload={at.key} />;
    case "job":
      return <JobPage job={at.id} />;
    case "jobs":
      return <JobsPage filter={at.filter} />;
    case "nowhere":
      return <Nowhere />;
  }
}

function Nowhere() {
  const t = words.value;
  useTitle(t.nowhere.title);
  return (
    <section class="empty">
      <h1>{t.nowhere.title}</h1>
      <p>{t.nowhere.text}</p>
      <a class="button" href="#/">{t.record.title}</a>
    </section>
  );
}
