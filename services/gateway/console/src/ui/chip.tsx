import type { Status } from "../api/types";
import { words } from "../locale";
import { Changing } from "./changing";

/** A job's status: a dot and a word, so that colour alone says nothing. */
export function Chip({ status }: { status: Status }) {
  return <span class={`chip ${status}`}><Changing text={words.value.job.status[status]} /></span>;
}
