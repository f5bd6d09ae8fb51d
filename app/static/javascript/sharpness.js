/* How finely a 3-D picture is drawn.
 *
 * Plotly cuts the cells of a small grid into up to sixteen patches each, and draws twice as many points as the screen has along each axis.
 * A graphics card does not mind; a processor that draws in its stead (SwiftShader, llvmpipe) takes most of a second for it, in which
 * the page stands still. There, what changes is drawn as a draft: the same values in the same colours, cut into fewer patches, of
 * fewer points, without what the pointer would find. As soon as it rests it is drawn finely (see picture.js).
 */
(() => {
  "use strict";

  const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i, HIDDEN = /^webkit|^mozilla/i;
  const DRAFT_POINTS = 48, DRAFT_RATIO = 1.5, DRAFT_LINE = 1.5, AXES = ["xaxis", "yaxis", "zaxis"];  // thinner lines would have gaps

  /** Who draws, as far as the browser tells. */
  function renderer(gl) {
    const told = gl.getParameter(gl.RENDERER), more = HIDDEN.test(told) && gl.getExtension("WEBGL_debug_renderer_info");
    return more ? gl.getParameter(more.UNMASKED_RENDERER_WEBGL) : told;
  }

  /** The 3-D scene of a plot, if it has one. */
  const sceneOf = (plot) => (plot?._fullLayout?.scene?._scene?.glplot ? plot._fullLayout.scene._scene : null);

  const { getContext } = HTMLCanvasElement.prototype;
  let slow = null;

  /** Whether a processor draws 3-D pictures here. It is asked once, of a canvas of its own: of one in use, the answer would wait until all is drawn. */
  function isSlow() {
    if (slow === null) {
      const gl = getContext.call(document.createElement("canvas"), "webgl");
      slow = Boolean(gl) && SOFTWARE.test(renderer(gl) || "");
      gl?.getExtension("WEBGL_lose_context")?.loseContext();
    }
    return slow;
  }

  // To smooth edges is half of the work where a processor draws, and fine pictures have twice the points anyway. Plotly has no option for it.
  HTMLCanvasElement.prototype.getContext = function unsmoothed(kind, options, ...more) {
    const rough = options?.antialias && /webgl/.test(kind) && isSlow();
    return getContext.call(this, kind, rough ? { ...options, antialias: false } : options, ...more);
  };

  const relieved = new WeakSet();

  /** Spares a processor that draws what it need not do at each drawing, for which the page would stand still until all before is drawn.
   *
   * Plotly makes the lines of the axes anew when a number at them changes. It compiles their shader each time if nothing else holds it, and asks
   * whether those that it has are there still.
   */
  function relieve({ glplot: { axes, gl } }) {
    const line = axes._lines?.shader;
    if (relieved.has(gl) || !line?._vref) return;
    relieved.add(gl);
    gl.canvas.addEventListener("webglcontextlost", () => { delete gl.isShader; delete gl.isProgram; relieved.delete(gl); }, { once: true });
    line._vref.count += 1;
    line._fref.count += 1;
    gl.isShader = gl.isProgram = () => !gl.isContextLost();
  }

  /** How the next drawing of a scene shall be: a draft, or fine.
   *
   * layout: with what it will be drawn.
   * pointed: whether the pointer is on it. Else a draft leaves out the second drawing, by which Plotly finds what is under the pointer.
   */
  function draw(scene, layout, draft, pointed) {
    if (draft) relieve(scene);
    AXES.forEach((axis) => { layout.scene[axis].gridwidth = draft ? DRAFT_LINE : 1; });
    scene.glplot.pixelRatio = draft ? DRAFT_RATIO : scene.pixelRatio;
    surfaces(scene).forEach((trace) => {
      if (draft) trace.estimateScale = (points) => Math.max(1, Math.round(DRAFT_POINTS / points));
      else delete trace.estimateScale;  // Plotly's own again
    });
    if (draft && !pointed) hide(scene); else show(scene);
  }

  const surfaces = (scene) => Object.values(scene.traces).filter((trace) => "estimateScale" in trace);

  /** Spares the drawing by which Plotly finds what is under the pointer. */
  function hide(scene) {
    surfaces(scene).forEach((trace) => { trace.surface.drawPick = () => {}; });
    scene.glplot.gl.readPixels = () => {};
  }

  function show(scene) {
    surfaces(scene).forEach((trace) => { delete trace.surface.drawPick; });
    delete scene.glplot.gl.readPixels;
  }

  /** The pointer has come: what is under it is drawn with the next frame. */
  function find(scene) {
    if (!Object.hasOwn(scene.glplot.gl, "readPixels")) return;
    show(scene);
    scene.glplot.update({});
  }

  window.lossAtlas = { ...window.lossAtlas, sharpness: { draw, find, isSlow, sceneOf } };
})();
