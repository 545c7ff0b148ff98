// The triptych: panes that move together, blink, mask overlays, circles around detections.
(() => {
  const root = document.getElementById("viewer");
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const tiles = root.dataset.tiles;
  const labels = { science: "science", template: "matched template", difference: "difference" };
  const $ = (id) => document.getElementById(id);
  const state = { masks: [], chosen: null, leader: null, timer: null, shown: 0 };

  const query = (plane) => {
    const values = new URLSearchParams({ v: data.version });
    if (plane === "mask") {
      values.set("show", state.masks.join(","));
    } else {
      values.set("stretch", $("stretch").value);
      const contrast = Number($("contrast").value);
      if (contrast) {
        const usual = plane === "difference" ? ($("stretch").value === "linear" ? 5 : 30) : 100;
        values.set("limit", (usual * 2 ** -contrast).toFixed(2));
      }
    }
    return values;
  };
  const source = (plane) => {
    const asked = query(plane);
    return {
      width: data.width, height: data.height, tileSize: data.tile, minLevel: 0, maxLevel: data.level,
      getTileUrl: (level, x, y) => `${tiles}/${plane}/${level}/${x}_${y}.png?${asked}`,
    };
  };

  const blinked = data.planes.includes("science") ? ["science", "template"] : ["difference"];
  const panes = [...root.querySelectorAll(".pane")].map((element) => {
    const plane = element.dataset.plane;
    // The first pane also holds what it is blinked with.
    const planes = plane === data.planes[0] ? blinked : [plane];
    const viewer = OpenSeadragon({
      element, drawer: "canvas", showNavigationControl: false, imageSmoothingEnabled: false,
      animationTime: 0.25, maxZoomPixelRatio: 24, visibilityRatio: 0.4, minZoomImageRatio: 0.6,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, silenceMultiImageWarnings: true,
      preserveImageSizeOnResize: true, timeout: 60000, imageLoaderLimit: 4,
      tileSources: planes.map((name, n) => ({ tileSource: source(name), opacity: n ? 0 : 1, preload: true })),
    });
    const marks = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    marks.setAttribute("class", "marks");
    marks.setAttribute("aria-hidden", "true");
    element.appendChild(marks);
    viewer.canvas.setAttribute("role", "img");
    viewer.canvas.setAttribute("aria-label", `${labels[plane]}; arrows move, plus and minus zoom`);
    return { plane, planes, viewer, marks, mask: null, frame: element.closest(".pane-frame") };
  });
  const first = panes[0];
  first.frame.classList.add("lead");

  // One pane leads, the others follow.
  for (const pane of panes) {
    const lead = () => { state.leader = pane; };
    for (const event of ["canvas-press", "canvas-scroll", "canvas-key", "canvas-pinch", "canvas-double-click"]) {
      pane.viewer.addHandler(event, lead);
    }
    pane.viewer.addHandler("viewport-change", () => {
      if (state.leader && state.leader !== pane) return;
      for (const other of panes) {
        if (other === pane || !other.viewer.world.getItemCount()) continue;
        other.viewer.viewport.zoomTo(pane.viewer.viewport.getZoom(true), null, true);
        other.viewer.viewport.panTo(pane.viewer.viewport.getCenter(true), true);
      }
    });
    pane.viewer.addHandler("update-viewport", () => draw(pane));
    pane.viewer.addHandler("open", () => draw(pane));
  }

  // y runs up in a FITS image, down on the screen; pixel centres are whole numbers.
  const screen = (x, y) => new OpenSeadragon.Point(x + 0.5, data.height - y - 0.5);
  const circles = (pane) => data.detections.map((d) => {
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    if (d.snr < 0) circle.setAttribute("class", "minus");
    pane.marks.appendChild(circle);
    return circle;
  });
  function draw(pane) {
    const item = pane.viewer.world.getItemAt(0);
    if (!item) return;
    const shown = $("circles").checked;
    pane.marks.style.display = shown ? "" : "none";
    if (!shown) return;
    pane.circles ??= circles(pane);
    const scale = item.viewportToImageZoom(pane.viewer.viewport.getZoom(true));
    const radius = Math.max(7, 8 * scale).toFixed(1);
    data.detections.forEach((d, n) => {
      const place = item.imageToViewerElementCoordinates(screen(d.x, d.y));
      const circle = pane.circles[n];
      circle.setAttribute("cx", place.x.toFixed(1));
      circle.setAttribute("cy", place.y.toFixed(1));
      circle.setAttribute("r", radius);
      circle.classList.toggle("chosen", state.chosen === n);
    });
  }

  const go = (x, y, pixels) => {
    state.leader = first;
    for (const pane of panes) {
      const item = pane.viewer.world.getItemAt(0);
      if (!item) continue;
      const half = pixels / 2;
      const at = screen(x, y);
      const box = item.imageToViewportRectangle(at.x - half, at.y - half, pixels, pixels);
      pane.viewer.viewport.fitBounds(box, true);
    }
  };

  const caption = (plane) => { first.frame.querySelector("figcaption").textContent = labels[plane]; };
  const show = (n) => {
    state.shown = n;
    blinked.forEach((_, m) => first.viewer.world.getItemAt(m)?.setOpacity(m === n ? 1 : 0));
    caption(blinked[n]);
  };
  const beat = () => {
    clearInterval(state.timer);
    state.timer = setInterval(() => show((state.shown + 1) % blinked.length), 1000 / Number($("speed").value));
  };
  const blink = (on) => {
    if (blinked.length < 2) return;
    const center = first.viewer.viewport.getCenter(true);
    const box = first.viewer.viewport.getBounds(true);
    root.querySelector(".panes").classList.toggle("blinking", on);
    $("blink").setAttribute("aria-pressed", String(on));
    if (on) beat(); else { clearInterval(state.timer); state.timer = null; show(0); }
    requestAnimationFrame(() => {
      state.leader = first;
      const size = new OpenSeadragon.Point(first.viewer.element.clientWidth, first.viewer.element.clientHeight);
      first.viewer.viewport.resize(size, true);
      first.viewer.viewport.fitBounds(box, true);
      first.viewer.viewport.panTo(center, true);
    });
  };

  const reload = () => {
    for (const pane of panes) {
      pane.planes.forEach((name, n) => {
        const opacity = pane === first && state.timer ? Number(n === state.shown) : Number(n === 0);
        pane.viewer.addTiledImage({ tileSource: source(name), index: n, replace: true, opacity, preload: true });
      });
    }
  };
  const masks = () => {
    state.masks = [...root.querySelectorAll("input[name=mask]:checked")].map((box) => box.value);
    for (const pane of panes) {
      if (pane.mask) { pane.viewer.world.removeItem(pane.mask); pane.mask = null; }
      if (!state.masks.length) continue;
      pane.viewer.addTiledImage({ tileSource: source("mask"), success: (e) => { pane.mask = e.item; } });
    }
  };

  $("blink").addEventListener("click", () => blink(!state.timer));
  if (blinked.length < 2) $("blink").disabled = true;
  $("speed").addEventListener("input", () => { if (state.timer) beat(); });
  $("stretch").addEventListener("change", reload);
  $("contrast").addEventListener("change", reload);
  $("circles").addEventListener("change", () => panes.forEach(draw));
  root.querySelectorAll("input[name=mask]").forEach((box) => box.addEventListener("change", masks));
  $("whole").addEventListener("click", () => { state.leader = first; panes.forEach((p) => p.viewer.viewport.goHome()); });
  $("pixels").addEventListener("click", () => {
    state.leader = first;
    const item = first.viewer.world.getItemAt(0);
    first.viewer.viewport.zoomTo(item.imageToViewportZoom(1));
  });
  document.querySelectorAll("button.look").forEach((button) => button.addEventListener("click", () => {
    const [x, y] = [Number(button.dataset.x), Number(button.dataset.y)];
    state.chosen = data.detections.findIndex((d) => d.x === x && d.y === y);
    if (!state.timer) blink(true);
    root.scrollIntoView({ block: "start" });
    requestAnimationFrame(() => requestAnimationFrame(() => go(x, y, 90)));
    $("where").textContent = `Detection at x ${x.toFixed(1)}, y ${y.toFixed(1)}: what is new comes and goes.`;
  }));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "b") blink(!state.timer);
  });

  // What is at a place, asked by a click or by position.
  const tell = async (values) => {
    const target = $("place");
    const answer = await fetch(`${target.dataset.place}?${new URLSearchParams(values)}`);
    if (answer.ok) {
      target.innerHTML = await answer.text();
    } else {
      target.textContent = (await answer.text()).replace(/^\w+: /, "");
    }
    return answer.ok;
  };
  for (const pane of panes) {
    pane.viewer.addHandler("canvas-click", (event) => {
      if (!event.quick) return;
      const at = pane.viewer.world.getItemAt(0).viewerElementToImageCoordinates(event.position);
      const [x, y] = [at.x - 0.5, data.height - at.y - 0.5];
      if (x < -0.5 || y < -0.5 || x > data.width - 0.5 || y > data.height - 0.5) return;
      tell({ x: x.toFixed(2), y: y.toFixed(2) });
    });
  }
  $("ask-place").addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    tell(values).then(() => root.scrollIntoView({ block: "start" }));
  });

  const wanted = new URLSearchParams(location.search);
  if (wanted.has("x") && wanted.has("y")) {
    first.viewer.addOnceHandler("open", () => setTimeout(() => go(Number(wanted.get("x")), Number(wanted.get("y")), 120), 0));
  }
  if (wanted.has("ra") && wanted.has("dec")) tell({ ra: wanted.get("ra"), dec: wanted.get("dec") });
})();
