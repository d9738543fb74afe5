import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { tokens } from "../api/client";
import { Problem } from "../api/problem";
import type { Token } from "../api/types";
import { mayChangeLines } from "../auth/session";
import { words } from "../locale";
import { clock, isolated } from "../locale/format";
import { Failure } from "../ui/failure";
import { useLoaded } from "../ui/hooks";
import { Icon } from "../ui/icons";
import { TokenForm } from "./token-form";

const shown = 50;

/** Choosing a token, or making one. */
export function TokenStep({ wanted, chosen }: { wanted: string; chosen: Signal<Token | null> }) {
  const t = words.value.token;
  const making = useSignal(false);
  const typed = useSignal("");
  const search = useSignal("");
  useEffect(() => {
    const timer = setTimeout(() => (search.value = typed.value.trim()), 250);
    return () => clearTimeout(timer);
  }, [typed.value]);
  useEffect(() => {
    typed.value = search.value = ""; // else another line of the address would not be looked for
  }, [wanted]);
  const round = useSignal(0);
  const found = useLoaded((signal) => read(search.value, wanted, signal), [search.value, wanted, round.value]);
  const { list = [] } = found.value.value ?? {};
  useEffect(() => {
    // Read here: by now there may be another answer than when the page was rendered, or one for another address.
    const { value, busy } = found.value;
    if (!busy && value?.wanted === wanted) {
      chosen.value ??= value.one ?? (value.list.length === 1 && value.search === "" ? (value.list[0] as Token) : null);
    }
  }, [found.value, wanted]);
  const made = (token: Token) => {
    chosen.value = token;
    making.value = false;
    round.value++;
  };
  if (making.value) {
    return <TokenForm done={(token) => (token ? made(token) : (making.value = false))} />;
  }
  return (
    <>
      <p class="hint">{t.about}</p>
      <div class="search">
        <Icon name="search" />
        <input type="search" aria-label={t.search} placeholder={t.searchHint} value={typed.value} onInput={(e) => (typed.value = e.currentTarget.value)} />
      </div>
      <Failure of={found.value.problem}>
        <button type="button" class="plain" onClick={() => round.value++}>{words.value.actions.reload}</button>
      </Failure>
      <fieldset class="tokens" aria-busy={found.value.busy}>
        <legend class="unseen">{t.list}</legend>
        {withChosen(list.slice(0, shown), chosen.value).map((token) => (
          <label key={token.id} class="token">
            <input type="radio" name="token" checked={chosen.value?.id === token.id} onChange={() => (chosen.value = token)} />
            <span class="name"><bdi>{token.token_name}</bdi></span>
            <span class="about">{about(token)}</span>
          </label>
        ))}
        <p class="quiet" role="status">{found.value.value && list.length === 0 && (search.value ? t.noMatch(isolated(search.value)) : t.none)}</p>
        {list.length > shown && <p class="quiet">{t.more}</p>}
      </fieldset>
      {mayChangeLines.value && <button type="button" class="plain" onClick={() => (making.value = true)}>
        <Icon name="plus" />{t.create}
      </button>}
      {chosen.value && <Scripts key={chosen.value.id} of={chosen.value} />}
    </>
  );
}

/** The lines that a search has found, and the line of the address. */
interface Found {
  search: string;
  wanted: string;
  list: Token[];
  one: Token | null;
}

/** The first lines that match, one more than is shown, and the wanted one, which may be none of them. */
async function read(search: string, wanted: string, signal: AbortSignal): Promise<Found> {
  const list = await tokens.list(search, shown + 1, signal);
  const listed = list.find((token) => String(token.id) === wanted);
  return { search, wanted, list, one: listed ?? (search === "" && wanted !== "" ? await lineOf(wanted, signal) : null) };
}

/** The line of an id; null where there is none. */
async function lineOf(id: string, signal: AbortSignal): Promise<Token | null> {
  try {
    return await tokens.get(encodeURIComponent(id), signal);
  } catch (thrown) {
    if (thrown instanceof Problem && thrown.refusal) {
      return null;
    }
    throw thrown;
  }
}

/** The list with the chosen one in it, which a search may have left out. */
function withChosen(list: Token[], chosen: Token | null): Token[] {
  return chosen && !list.some((token) => token.id === chosen.id) ? [chosen, ...list] : list;
}

function about(token: Token): string {
  const parts = [isolated(token.actor_name), token.category && isolated(token.category), `${clock(token.start_time)}–${clock(token.end_time)}`];
  if (token.s3_pitch_url) {
    parts.push(words.value.token.reference);
  }
  return parts.filter(Boolean).join(" · ");
}

/** The chosen token's script: what to read aloud. */
function Scripts({ of }: { of: Token }) {
  const t = words.value.token;
  const detail = useLoaded((signal) => tokens.get(of.id, signal), [of.id]);
  const scripts = detail.value.value?.scripts ?? [];
  if (scripts.length === 0) {
    return null;
  }
  return (
    <div class="script">
      <h3>{t.readAloud}</h3>
      <ol tabIndex={0} aria-label={t.readAloud}>
        {scripts.map((line) => (
          <li key={line.id}>
            <span class="time">{clock(line.start_time)}</span>
            <p><bdi>{line.script}</bdi>{line.translation && <span class="translation"><bdi>{line.translation}</bdi></span>}</p>
          </li>
        ))}
      </ol>
    </div>
  );
}
