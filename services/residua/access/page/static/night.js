// A quantity over the night, a colour for each band.
(async () => {
  const element = document.getElementById("chart");
  const answer = await fetch(element.dataset.series, { headers: { Accept: "application/json" } });
  const found = await answer.json();
  if (!found.time.length) { element.textContent = "Not measured in this night."; return; }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colors = () => dark.matches
    ? { u: "#3eb7ff", g: "#30c39f", r: "#ff7e00", i: "#2af5ff", z: "#a7f9c1", y: "#fdc900" }
    : { u: "#1600ea", g: "#128a0c", r: "#b52626", i: "#370201", z: "#ba52ff", y: "#3f7f92" };
  const bands = [...new Set(found.band)].sort((a, b) => "ugrizy".indexOf(a[0]) - "ugrizy".indexOf(b[0]));
  const data = [found.time, ...bands.map((b) => found.value.map((v, n) => (found.band[n] === b ? v : null)))];
  const style = getComputedStyle(document.documentElement);
  let plot = null;
  const draw = () => {
    plot?.destroy();
    const ink = style.getPropertyValue("--quiet").trim(), line = style.getPropertyValue("--line").trim();
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    plot = new uPlot({
      width: element.clientWidth, height: 280, tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
      axes: [{ ...axis, space: 80, values: (_, times) => times.map((t) => new Date(t * 1000).toISOString().slice(11, 19)) }, { ...axis, size: 64 }],
      series: [{ label: "TAI", value: (_, t) => (t == null ? "–" : new Date(t * 1000).toISOString().slice(0, 19)) }, ...bands.map((b) => ({
        label: b, stroke: colors()[b[0]] ?? ink, paths: () => null,
        points: { show: true, size: found.time.length > 2000 ? 3 : 6, fill: colors()[b[0]] ?? ink },
        value: (_, v) => (v == null ? "–" : v.toPrecision(5)),
      }))],
    }, data, element);
  };
  draw();
  dark.addEventListener("change", draw);
  new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 280 })).observe(element);
})();
