"""Synthetic hands that sign the digits 0-9 in ASL, rendered from a random key.

The capsules of a posed hand (`hand.py`) are projected. Each pixel takes its signed
distance to every capsule's outline, for antialiased coverage, and the height and normal
of the frontmost surface, for light, creases and contact shadows; then come a wall
behind it and a camera.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from signjax.synthetic.hand import Capsules, build_hand, choose_pose, turn_hand

_Number = jax.Array | float

# Light to dark skin as seen on the palm, sRGB 0-1.
_SKIN = np.array(
    [[0.95, 0.78, 0.70], [0.88, 0.67, 0.55], [0.76, 0.54, 0.41], [0.58, 0.40, 0.30]]
)
_BEHIND = -4.0  # a height below every part of a hand, in half frames

# Uniform draws that each step of an image takes.
_DRAWS = {"view": 9, "pose": 30, "wall": 68, "skin": 56, "camera": 7}
_BATCH = 16  # images rendered together: their planes fit a CPU's cache
_CHUNK = 128  # images in one compiled call


class _Surface(NamedTuple):
    """What the camera sees of a hand, each [size, size].

    coverage: 0-1. height: to the viewer, half frames. normal_x, normal_y: -1 to 1,
    the normal's third part being what makes it unit. crease: 0-1.
    """

    coverage: jax.Array
    height: jax.Array
    normal_x: jax.Array
    normal_y: jax.Array
    crease: jax.Array


def _between(unit: jax.Array, low: float, high: float) -> jax.Array:
    """A draw from [0, 1) as one from [low, high)."""
    return low + unit * (high - low)


def _project(
    capsules: Capsules, zoom: jax.Array, shift: jax.Array, distance: jax.Array
) -> Capsules:
    """Perspective from `distance` cm, the hand (not the forearm) framed.

    The frame spans [-1, 1] and `zoom` cm, or as many as the hand needs; shift: [2],
    -1 to 1, of the room that is left. Heights are in the frame's units too.
    """

    def perspective(points: jax.Array, radius: jax.Array):
        scale = distance / (distance - points[:, 2])
        return points * scale[:, None], radius * scale

    start, start_radius = perspective(capsules.start, capsules.radii[:, 0])
    end, end_radius = perspective(capsules.end, capsules.radii[:, 1])
    points = jnp.concatenate([start, end[2:]])[:, :2]
    radius = jnp.concatenate([start_radius, end_radius[2:]])[:, None]
    low, high = (points - radius).min(axis=0), (points + radius).max(axis=0)
    span = jnp.maximum(zoom, 1.06 * (high - low).max())
    room = (span - (high - low)) / 2
    center = jnp.append((low + high) / 2 - shift * room, 0.0)[None]
    unit = 2 / span
    return Capsules(
        (start - center) * unit,
        (end - center) * unit,
        jnp.stack([start_radius, end_radius], -1) * unit,
        capsules.blend * unit,
    )


def _grid(size: int) -> tuple[jax.Array, jax.Array]:
    """x to the right and y upwards at the pixel centers, [size, size] in (-1, 1)."""
    at = (jnp.arange(size) + 0.5) * 2 / size - 1
    x, y = jnp.meshgrid(at, -at)
    return x, y


def _trace(capsules: Capsules, size: int) -> _Surface:
    """Coverage and frontmost surface of projected capsules."""
    x, y = _grid(size)
    pixel = 2 / size

    def add(surface: _Surface, capsule: Capsules):
        start, end, radii, blend = capsule
        bone, swell = end - start, radii[1] - radii[0]
        length = jnp.sqrt(bone[0] ** 2 + bone[1] ** 2 + 1e-8)
        ux, uy = bone[0] / length, bone[1] / length
        dx, dy = x - start[0], y - start[1]
        along, across = dx * ux + dy * uy, dx * uy - dy * ux
        flat = jnp.clip(along / length, 0, 1)
        radius = radii[0] + flat * swell
        distance = jnp.sqrt((along - flat * length) ** 2 + across**2) - radius
        coverage = jnp.clip(0.5 - distance / pixel, 0, 1)
        # The ball whose surface is in front at this pixel lies further along a bone
        # that comes to the viewer.
        slope = bone[2] / jnp.sqrt(length**2 + bone[2] ** 2)
        lead = slope * jnp.sqrt(jnp.maximum(radius**2 - across**2, 0))
        front = jnp.clip((along + lead) / length, 0, 1)
        radius = radii[0] + front * swell
        curvature = 1 / radius
        nx = (dx - front * bone[0]) * curvature
        ny = (dy - front * bone[1]) * curvature
        nz = jnp.sqrt(jnp.maximum(1 - nx**2 - ny**2, 0.02))
        height = start[2] + front * bone[2] + radius * nz
        closer = jnp.clip(0.5 + (height - surface.height) / (4 * blend), 0, 1)
        crease = jnp.maximum(1 - jnp.abs(along + lead) * curvature / 0.35, 0)
        parts = _Surface(coverage, height, nx, ny, crease)
        # Behind an outline it shows through what the outline leaves free.
        share = coverage * jnp.maximum(closer, 1 - surface.coverage)
        mixed = jax.tree.map(partial(_mix, share=share), surface, parts)
        # An outline's height is the hand's, however little of the pixel it covers.
        first = (surface.coverage == 0) & (coverage > 0)
        return mixed._replace(
            coverage=jnp.maximum(surface.coverage, coverage),
            height=jnp.where(first, height, mixed.height),
        ), None

    blank = jnp.zeros((size, size))
    empty = _Surface(blank, blank + _BEHIND, blank, blank, blank)
    return jax.lax.scan(add, empty, capsules)[0]


def _mix(old: jax.Array, new: jax.Array, share: jax.Array) -> jax.Array:
    return old + share * (new - old)


def _smear(
    image: jax.Array,
    sigma: _Number,
    *,
    right: _Number = 0.0,
    up: _Number = 0.0,
    size: int = 0,
) -> jax.Array:
    """Gaussian blur and move of [C, H, H] as two matrix products, edges renormalised.

    sigma, right, up: pixels of the result, [C, size, size]; size 0 keeps the size.
    """
    source = image.shape[-1]
    size = size or source
    to = jnp.arange(size) + 0.5
    at = (jnp.arange(source) + 0.5) * (size / source)

    def weights(shift: _Number) -> jax.Array:
        log = -(((to[:, None] - at[None] - shift) / sigma) ** 2) / 2
        return jax.nn.softmax(log, axis=-1)

    return jnp.einsum("ij,cjk,lk->cil", weights(-up), image, weights(right))


def _cloud(draw: jax.Array, size: int) -> jax.Array:
    """Smooth noise in [-1, 1] from draws at a square grid of knots, [size, size]."""
    cells = math.isqrt(draw.size)
    knots = 2 * draw.reshape(1, cells, cells) - 1
    return _smear(knots, 0.55 * size / cells, size=size)[0]


def _skin(draw: jax.Array, surface: _Surface, light: jax.Array) -> jax.Array:
    """The lit hand, [3, size, size] in 0-1; draw: [56]; light: [3], the way to it."""
    size = surface.height.shape[0]
    at = jnp.arange(float(len(_SKIN)))
    tone = draw[0] * (len(_SKIN) - 1)
    albedo = jnp.stack([jnp.interp(tone, at, channel) for channel in _SKIN.T])
    albedo = (albedo * _between(draw[1:4], 0.94, 1.06))[:, None, None]
    flush = (
        jnp.array([0.03, -0.08, -0.08])[:, None, None] * _cloud(draw[7:], size)[None]
    )
    normal_z = jnp.sqrt(jnp.maximum(1 - surface.normal_x**2 - surface.normal_y**2, 0))
    facing = surface.normal_x * light[0] + surface.normal_y * light[1]
    facing = jnp.clip(facing + normal_z * light[2], 0, 1)
    # A surface lower than its neighbourhood sees less of the sky.
    height = jnp.maximum(surface.height, -0.5)
    around = _smear(height[None], 2.6 * size / 64)[0]
    depth = jnp.clip((around - height) / 0.22, 0, 1)
    depth = _smear(depth[None], 0.7 * size / 64)[0]
    ambient = _between(draw[4], 0.4, 0.62)
    shade = ambient * (0.8 + 0.2 * normal_z) + (1.08 - ambient) * facing
    shade = shade * (1 - _between(draw[5], 0.6, 0.9) * depth)
    shade = shade * (1 - _between(draw[6], 0, 0.2) * surface.crease)
    # Light that went through skin is red, so shadows are warm.
    warmth = jnp.array([0.1, -0.05, -0.12])[:, None, None]
    warm = shade[None] * (1 + warmth * (1 - shade[None]))
    return (albedo + flush) * warm


def _background(draw: jax.Array, size: int) -> jax.Array:
    """A wall of some color, unevenly lit, at times with things on it.

    [3, size, size] in 0-1; draw: [68].
    """
    x, y = _grid(size)
    grey = _between(draw[0], 0.62, 0.95) + _between(draw[1:4], -0.04, 0.04)
    wall = jnp.where(draw[4] < 0.7, grey, _between(draw[5:8], 0.2, 0.85))
    slope = _between(draw[8:10], -0.12, 0.12)
    tint = 1 + slope[0] * x + slope[1] * y - 0.12 * draw[10] * (x**2 + y**2)
    tint = tint + 0.2 * draw[11] * _cloud(draw[43:], size)
    crowded = draw[12] < 0.35

    def add(scene: jax.Array, box: jax.Array):
        return _clutter(box, scene, crowded), None

    empty = wall[:, None, None] * tint[None]
    return jax.lax.scan(add, empty, draw[13:43].reshape(3, 10))[0]


def _clutter(draw: jax.Array, scene: jax.Array, present: jax.Array) -> jax.Array:
    """The scene with a rotated, soft box in it, where present; draw: [10], 0-1."""
    x, y = _grid(scene.shape[-1])
    angle = jnp.pi * draw[0]
    center = _between(draw[1:3], -1.2, 1.2)
    half = _between(draw[3:5], 0.05, 0.8)
    dx, dy = x - center[0], y - center[1]
    u = jnp.abs(jnp.cos(angle) * dx + jnp.sin(angle) * dy) - half[0]
    v = jnp.abs(jnp.cos(angle) * dy - jnp.sin(angle) * dx) - half[1]
    outside = jnp.sqrt(jnp.maximum(u, 0) ** 2 + jnp.maximum(v, 0) ** 2)
    distance = outside + jnp.minimum(jnp.maximum(u, v), 0)
    share = jnp.clip(0.5 - distance / _between(draw[5], 0.03, 0.3), 0, 1)
    color = _between(draw[6:9], 0.1, 0.9)[:, None, None]
    share = present * _between(draw[9], 0.3, 1.0) * share
    return _mix(scene, color, share[None])


def _photograph(draw: jax.Array, grain: jax.Array, image: jax.Array) -> jax.Array:
    """Exposure, color cast, contrast, blur and noise of a camera; uint8 [H, H, 3].

    image: [3, H, H] in 0-1. draw: [7]. grain: random uint32 [H, H].
    """
    size = image.shape[-1]
    gain = _between(draw[0], 0.8, 1.12) * _between(draw[1:4], 0.95, 1.05)
    image = (image * gain[:, None, None] - 0.5) * _between(draw[4], 0.85, 1.15) + 0.5
    image = _smear(image, _between(draw[5], 0.25, 0.65) * size / 64)
    # Ten of a pixel's random bits to each channel: uniform noise looks the same as
    # normal noise here and costs a fraction of it.
    fields = (grain[None] >> jnp.array([0, 10, 20], jnp.uint32)[:, None, None]) & 1023
    noise = fields.astype(jnp.float32) / 1023 - 0.5
    image = image + 0.1 * draw[6] ** 2 * noise
    image = jnp.round(255 * jnp.clip(image, 0, 1)).astype(jnp.uint8)
    return jnp.moveaxis(image, 0, -1)


def _render(
    key: jax.Array, digit: jax.Array, size: int, pose_jitter: jax.Array
) -> jax.Array:
    """One image of one digit (int32 []), uint8 [size, size, 3]."""
    counts = list(_DRAWS.values())
    bits = jax.random.bits(key, (sum(counts) + size**2,))
    draws = (bits[: sum(counts)] >> 8).astype(jnp.float32) * 2.0**-24
    view, pose, wall, skin, camera = jnp.split(draws, np.cumsum(counts)[:-1])
    pose = choose_pose(pose, digit, pose_jitter)
    hand = turn_hand(build_hand(pose), pose)
    zoom, shift = _between(view[0], 19, 29), _between(view[1:3], -0.8, 0.8)
    surface = _trace(_project(hand, zoom, shift, _between(view[3], 40, 90)), size)
    # The light comes from the front, mostly from above.
    light = jnp.stack([1.6 * view[4] - 0.8, view[5] - 0.15, 0.6 + 0.4 * view[6]])
    light = light / jnp.linalg.norm(light)
    fall = _between(view[7], -0.01, -0.1) * size / light[2] * light
    shadow = _smear(surface.coverage[None], size / 24, right=fall[0], up=fall[1])
    scene = _background(wall, size) * (1 - 0.4 * view[8] * shadow)
    image = _mix(scene, _skin(skin, surface, light), surface.coverage[None])
    return _photograph(camera, bits[sum(counts) :].reshape(size, size), image)


@partial(jax.jit, static_argnames="size")
def _render_chunk(
    key: jax.Array, indices: jax.Array, digits: jax.Array, size: int, poses: jax.Array
) -> jax.Array:
    def render(numbered: tuple[jax.Array, jax.Array]) -> jax.Array:
        index, digit = numbered
        return _render(jax.random.fold_in(key, index), digit, size, poses)

    return jax.lax.map(render, (indices, digits), batch_size=_BATCH)


def render_hands(
    key: jax.Array, digits: ArrayLike, *, size: int = 64, pose_jitter: float = 0.0
) -> jax.Array:
    """Images of hands signing `digits`, uint8 [N, size, size, 3], RGB.

    key: a JAX random key; image i depends on the key, i, digits[i], size and
    pose_jitter alone. digits: int32 [N], each 0-9. size: pixels. pose_jitter: 0-1, see
    `hand.choose_pose`. One program is compiled per size; memory beyond the result is
    bounded.
    """
    digits = jnp.asarray(digits, jnp.int32)
    count = len(digits)
    padded = -(-count // _CHUNK) * _CHUNK
    digits = jnp.pad(digits, (0, padded - count))
    indices = jnp.arange(padded)
    poses = jnp.float32(pose_jitter)
    chunks = [
        _render_chunk(key, indices[i : i + _CHUNK], digits[i : i + _CHUNK], size, poses)
        for i in range(0, padded, _CHUNK)
    ]
    return jnp.concatenate(chunks)[:count]
