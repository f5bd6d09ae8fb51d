/* How finely a 3-D picture is drawn.
 *
 * Plotly cuts the cells of a small grid into up to sixteen patches each, and draws twice as many points as the screen has along each axis.
 * A graphics card does not mind; a processor that draws in its stead (SwiftShader, llvmpipe) takes most of a second for it, in which
 * the page stands still. There, what changes is drawn as a draft: the same values in the same colours, cut into fewer patches, of as
 * many points as the screen has. As soon as it rests it is drawn finely (see picture.js).
 */
(() => {
  "use strict";

  const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i, HIDDEN = /^webkit|^mozilla/i;
  const DRAFT_POINTS = 64;

  /** Who draws, as far as the browser tells. */
  function renderer(gl) {
    const told = gl.getParameter(gl.RENDERER), more = HIDDEN.test(told) && gl.getExtension("WEBGL_debug_renderer_info");
    return more ? gl.getParameter(more.UNMASKED_RENDERER_WEBGL) : told;
  }

  /** The 3-D scene of a plot, if it has one. */
  const sceneOf = (plot) => (plot?._fullLayout?.scene?._scene?.glplot ? plot._fullLayout.scene._scene : null);

  const asked = new WeakMap();

  /** Whether a processor draws this scene. It is asked once: each answer waits until all that was begun is drawn. */
  function isSlow(scene) {
    const { gl } = scene.glplot;
    if (!asked.has(gl)) asked.set(gl, SOFTWARE.test(renderer(gl) || ""));
    return asked.get(gl);
  }

  /** How the next drawing of a scene shall be: a draft, or fine. */
  function draw(scene, draft) {
    scene.glplot.pixelRatio = draft ? 1 : scene.pixelRatio;
    Object.values(scene.traces).filter((trace) => "estimateScale" in trace).forEach((trace) => {
      if (draft) trace.estimateScale = (points) => Math.max(1, Math.round(DRAFT_POINTS / points));
      else delete trace.estimateScale;  // Plotly's own again
    });
  }

  window.lossAtlas = { ...window.lossAtlas, sharpness: { draw, isSlow, sceneOf } };
})();
