import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { words } from "../locale";

interface FieldProps extends Omit<JSX.InputHTMLAttributes<HTMLInputElement>, "value"> {
  label: string;
  value: string;
  set: (value: string) => void;
  hint?: string;
  error?: string | undefined;
}

/** An input with its label, its hint and what is wrong with it. */
export function Field({ label, value, set, hint, error, required, ...input }: FieldProps) {
  const id = useId();
  return (
    <div class={error ? "field wrong" : "field"}>
      <label for={id}>
        {label}
        {!required && <span class="optional">{words.value.optional}</span>}
      </label>
      <input
        {...input}
        id={id}
        value={value}
        aria-required={required}
        aria-invalid={error !== undefined}
        aria-describedby={error ?? hint ? `${id}-description` : undefined}
        onInput={(e) => set(e.currentTarget.value)}
      />
      {error && <p id={`${id}-description`} class="error" role="alert">{error}</p>}
      {!error && hint && <p id={`${id}-description`} class="hint">{hint}</p>}
    </div>
  );
}
