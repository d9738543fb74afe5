import "@fontsource-variable/inter/wght.css";
import "@fontsource-variable/noto-sans-kr/wght.css";
import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/controls.css";
import "./style/pages.css";
import "./style/result.css";
import { render } from "preact";
import { App } from "./app";
import { guardRecording } from "./audio/draft";
import { begin } from "./start";
import { keepFocus } from "./ui/focus";
import { watchTheme } from "./ui/theme";

watchTheme();
keepFocus();
guardRecording();
void begin();
render(<App />, document.getElementById("console") as HTMLElement);
