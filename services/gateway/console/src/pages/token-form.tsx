import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { scripts, tokens } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import type { Token } from "../api/types";
import { words } from "../locale";
import { Failure } from "../ui/failure";
import { Field } from "../ui/field";
import { Icon } from "../ui/icons";
import { type Draft, emptyDraft, faults, type LineDraft, refused, scriptsOf, tokenOf } from "./token-draft";

/** A form for a new token with its script. Done with null where it is left. */
export function TokenForm({ done }: { done: (token: Token | null) => void }) {
  const t = words.value.token;
  const draft = useSignal<Draft>(emptyDraft);
  const tried = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const created = useSignal<Token | null>(null); // where only its script failed
  const busy = useSignal(false);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => form.current?.querySelector("input")?.focus(), []);

  const wrong = tried.value ? faults(draft.value) : {};
  const serverErrors = refused(problem.value?.errors ?? []);
  const error = (field: string) => {
    const fault = wrong[field] ?? serverErrors[field];
    return fault && t[fault];
  };
  const field = (name: Exclude<keyof Draft, "lines">, label: string) => ({
    label,
    value: draft.value[name],
    set: (value: string) => (draft.value = { ...draft.value, [name]: value }),
    error: error(name),
  });

  const save = async () => {
    tried.value = true;
    if (Object.keys(faults(draft.value)).length > 0) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return;
    }
    busy.value = true;
    if (created.value === null) {
      problem.value = null;
    }
    try {
      const again = created.value !== null;
      created.value ??= await tokens.create(tokenOf(draft.value));
      await createScripts(draft.value, created.value.id, again);
      done(created.value);
    } catch (thrown) {
      problem.value = asProblem(thrown);
    } finally {
      busy.value = false;
    }
  };

  if (created.value && problem.value) {
    return (
      <>
        <p>{t.scriptsFailed}</p>
        <Failure of={problem.value}>
          {!problem.value.refusal && <button type="button" class="button" disabled={busy.value} onClick={() => void save()}>{words.value.actions.retry}</button>}
          <button type="button" class="plain" disabled={busy.value} onClick={() => done(created.value)}>{words.value.actions.close}</button>
        </Failure>
      </>
    );
  }
  return (
    <form ref={form} class="form" noValidate aria-label={t.createTitle} onSubmit={(e) => (e.preventDefault(), void save())}>
      <h3>{t.createTitle}</h3>
      <div class="pair">
        <Field {...field("name", t.name)} required maxLength={255} />
        <Field {...field("actor", t.actor)} required maxLength={255} />
      </div>
      <div class="pair thirds">
        <Field {...field("category", t.category)} maxLength={255} />
        <Field {...field("start", t.start)} required inputMode="decimal" />
        <Field {...field("end", t.end)} required inputMode="decimal" />
      </div>
      <Field {...field("pitch", t.pitch)} hint={t.pitchHint} inputMode="url" />
      <Field {...field("textgrid", t.textgrid)} inputMode="url" />
      <Lines draft={draft} error={error} />
      <Failure of={problem.value} />
      <div class="row end">
        <button type="button" class="plain" onClick={() => done(null)}>{t.cancel}</button>
        <button type="submit" class="button" aria-disabled={busy.value} disabled={busy.value}>{t.save}</button>
      </div>
    </form>
  );
}

/** Creates the script of a token, one part after the other. Again: those that the token lacks, since an answer may have been lost. */
async function createScripts(draft: Draft, token: number, again: boolean): Promise<void> {
  const there = again ? (await tokens.get(token)).scripts.length : 0;
  for (const script of scriptsOf(draft, token).slice(there)) {
    await scripts.create(script);
  }
}

/** The lines of the script, which come and go. */
function Lines({ draft, error }: { draft: Signal<Draft>; error: (field: string) => string | undefined }) {
  const t = words.value.token;
  const next = useRef(1);
  const lines = draft.value.lines;
  const put = (changed: LineDraft[]) => (draft.value = { ...draft.value, lines: changed });
  const add = () => {
    const last = lines[lines.length - 1];
    put([...lines, { id: next.current++, start: last?.end ?? draft.value.start, end: draft.value.end, script: "", translation: "" }]);
  };
  return (
    <>
      {lines.map((line, i) => {
        const field = (name: Exclude<keyof LineDraft, "id">, label: string) => ({
          label,
          value: line[name],
          set: (value: string) => put(lines.map((other) => (other.id === line.id ? { ...line, [name]: value } : other))),
          error: error(`line-${line.id}-${name}`),
        });
        return (
          <fieldset key={line.id} class="line">
            <legend>{t.line(i + 1)}</legend>
            <Field {...field("script", t.script)} required />
            <Field {...field("translation", t.translation)} />
            <div class="pair">
              <Field {...field("start", t.start)} required inputMode="decimal" />
              <Field {...field("end", t.end)} required inputMode="decimal" />
            </div>
            <button type="button" class="bare remove" aria-label={t.removeScript(i + 1)} onClick={() => put(lines.filter((other) => other.id !== line.id))}>
              <Icon name="cross" />
            </button>
          </fieldset>
        );
      })}
      <button type="button" class="plain" onClick={add}><Icon name="plus" />{t.addScript}</button>
    </>
  );
}
