"""The skeleton of a hand that signs a digit 0-9 in ASL, as capsules in space.

A capsule is a ball swept along a bone. Joint angles pose the fingers, the thumb reaches
for its place, and the whole is turned to the view. Canonical hands are right hands seen
from the palm: x to the thumb's side, y along the fingers, z to the viewer, in
centimetres with the wrist at the origin.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Adult means; rows are index, middle, ring, little finger.
_KNUCKLES = np.array([[2.7, 9.0, 0], [0.75, 9.3, 0], [-1.2, 8.8, 0], [-3.0, 7.8, 0]])
_BONES = np.array([[4.7, 2.7, 1.9], [5.2, 3.1, 2.0], [4.8, 2.9, 2.0], [3.7, 2.2, 1.8]])
_FINGER_RADII = np.array([[0.98], [1.0], [0.95], [0.82]]) * [1.05, 0.97, 0.91, 0.79]
_THUMB_BASE = np.array([2.0, 1.6, 0.3])
THUMB_BONES = np.array([4.4, 3.5, 2.6])
_THUMB_RADII = np.array([1.65, 1.35, 1.1, 0.85])

# Flexion at the three joints of a finger, degrees.
_EXTENDED = (5.0, 8.0, 5.0)
_FOLDED = (82.0, 105.0, 62.0)
_RING = ((52, 62, 34), (60, 66, 38), (65, 70, 40), (66, 70, 40))
_TOUCHING = ((60, 75, 40), (63, 76, 40), (66, 80, 40), (72, 84, 36))
# Sideways lean of each finger at a spread of one, degrees to the thumb's side.
_FAN = np.array([9.0, 1.0, -8.0, -19.0])


def _flexion_table() -> np.ndarray:
    """Joint angles of the ten digits, float [10, 4, 3], degrees."""
    table = np.empty((10, 4, 3))
    for digit in range(10):
        touching = 9 - digit  # 6 touches the little finger, 9 the index finger
        for finger in range(4):
            up = digit >= 4 or finger < min(digit, 2)
            table[digit, finger] = _EXTENDED if up else _FOLDED
        if digit >= 6:
            table[digit, touching] = _TOUCHING[touching]
    table[0] = _RING
    return table


_FLEXION = _flexion_table()
# Where the thumb's tip goes: a mean of landmarks, the four fingertips, then the
# middle bones of middle and ring finger, a spot on the palm, and out to the side.
_THUMB_TARGET = np.zeros((10, 8))
_THUMB_TARGET[0, :2] = 0.5
_THUMB_TARGET[1, 4:6] = 0.7, 0.3
_THUMB_TARGET[2, 4:6] = 0.1, 0.9
_THUMB_TARGET[[3, 5], 7] = 1
_THUMB_TARGET[4, 6] = 1
_THUMB_TARGET[[6, 7, 8, 9], [3, 2, 1, 0]] = 1


class Pose(NamedTuple):
    """How one hand is built, bent and seen; angles in degrees, lengths in cm."""

    flexion: jax.Array  # [4, 3]
    fan: jax.Array  # [4]
    thumb_target: jax.Array  # [8] weights of the landmarks
    thumb_shift: jax.Array  # [3]
    length: jax.Array  # [4] factor on the finger's bones
    girth: jax.Array  # [] factor on every radius
    wrist: jax.Array  # [] sideways bend
    yaw: jax.Array  # [] about the fingers' axis, > 0 shows the thumb's side
    pitch: jax.Array  # [] > 0 tips the fingers to the viewer
    roll: jax.Array  # [] in the image plane, counter-clockwise
    mirror: jax.Array  # [] 1 for a right hand, -1 for a left one


class Capsules(NamedTuple):
    """Tapered bones. start, end: [P, 3]; radii: [P, 2]; blend: [P], in cm."""

    start: jax.Array
    end: jax.Array
    radii: jax.Array
    blend: jax.Array


def choose_pose(
    draw: jax.Array, digit: jax.Array, pose_jitter: jax.Array | float = 0.0
) -> Pose:
    """The pose of `digit` (int32 []) for draws [30] in [0, 1).

    pose_jitter: 0 for fingers apart and a thumb at its place, up to 1 for fingers side
    by side and thumbs off their place too. At 0, draws of 0.5 give the exemplary right
    hand, upright.
    """
    draw = 2 * draw - 1
    common, spread, turn, tip, roll, side, girth = draw[:7]
    flexion = jnp.asarray(_FLEXION, jnp.float32)[digit]
    extended = flexion[:, :1] < 20
    single = draw[18:].reshape(4, 3)
    bend = jnp.where(extended, 9 * single + 9 * common, 5 * single)
    is_ring = digit == 0
    middle = jnp.where(is_ring, 82, jnp.where(digit >= 6, 12, 5))
    sweep = jnp.where(is_ring, 21, jnp.where(digit >= 6, 20, 28))
    fan = 0.9 - 0.3 * pose_jitter + (0.6 + 0.5 * pose_jitter) * spread
    # Fingers are side by side at about 0; below the least they would cross.
    fan = jnp.clip(fan, -0.4, 1.6)
    return Pose(
        flexion=flexion + bend,
        fan=jnp.asarray(_FAN) * jnp.where(is_ring, 0.2, fan) + 2 * draw[7:11],
        thumb_target=jnp.asarray(_THUMB_TARGET, jnp.float32)[digit],
        thumb_shift=0.4 * draw[11:14] + pose_jitter * _stray(draw[11:14], digit),
        length=1 + 0.08 * draw[14:18],
        girth=1.02 + 0.12 * girth,
        wrist=-12 * turn + 14 * tip,
        # The views in which rings and meeting fingertips can be seen.
        yaw=middle + sweep * turn,
        pitch=jnp.where(is_ring, 12, 18) * tip,
        # Steep hands are rarer than upright ones.
        roll=20 * roll + 40 * roll**3,
        mirror=jnp.where(side < 0, -1.0, 1.0),
    )


def _stray(draw: jax.Array, digit: jax.Array) -> jax.Array:
    """How far a thumb is off its place at a pose_jitter of 1, [3], cm; draw: [3]."""
    # One that is out may lie beside the palm, one that is folded reach less far.
    aside = jnp.array([-4.0, 0.5, -0.6]) * jnp.maximum(draw[0], 0)
    folded = jnp.array([1.2, 0.6, 0.0]) * draw
    out = (digit == 3) | (digit == 5)
    return jnp.where(out, aside, jnp.where(digit == 4, folded, 0.0))


def finger_joints(pose: Pose) -> jax.Array:
    """Knuckle, two joints and tip of the four fingers, [4, 4, 3]."""
    fan = jnp.radians(pose.fan)
    bend = jnp.radians(jnp.cumsum(pose.flexion, axis=1))
    along = jnp.cos(bend)
    x, y = jnp.sin(fan)[:, None] * along, jnp.cos(fan)[:, None] * along
    direction = jnp.stack([x, y, jnp.sin(bend)], -1)
    bones = (_BONES * pose.length[:, None])[..., None] * direction
    steps = jnp.concatenate([jnp.asarray(_KNUCKLES)[:, None], bones], axis=1)
    return jnp.cumsum(steps, axis=1)


def _toward(origin: jax.Array, aim: jax.Array, length: float) -> jax.Array:
    """The point at `length` from origin in the direction of aim, [3]."""
    step = aim - origin
    return origin + step * length / jnp.sqrt(jnp.sum(step**2) + 1e-6)


def thumb_joints(pose: Pose, fingers: jax.Array) -> jax.Array:
    """Base, two joints and tip of the thumb, [4, 3], its tip led to the target.

    Inverse kinematics by FABRIK (Aristidou and Lasenby, 2011).
    """
    base = jnp.asarray(_THUMB_BASE)
    tips = fingers[:, 3]
    # The pad meets the fingertip from below, rather than inside it.
    meeting = jax.vmap(lambda tip: _toward(tip, base, 1.5))(tips)
    over = fingers[1:3, 1:3].mean(axis=1) + jnp.array([[0.0, -0.9, 1.3]])
    spots = jnp.array([[-0.6, 6.6, 2.3], [8.2, 8.2, 1.2]])
    landmarks = jnp.concatenate([meeting, over, spots])
    target = pose.thumb_target @ landmarks + pose.thumb_shift
    rest = base[None] + jnp.array([[3.0, 2.2, 2.4], [4.6, 5.0, 3.8], [4.0, 7.0, 4.5]])
    metacarpal, proximal, distal = THUMB_BONES

    def reach(_, joints: tuple[jax.Array, jax.Array, jax.Array]):
        second = _toward(target, joints[1], distal)
        first = _toward(base, _toward(second, joints[0], proximal), metacarpal)
        second = _toward(first, second, proximal)
        return first, second, _toward(second, target, distal)

    return jnp.stack([base, *jax.lax.fori_loop(0, 6, reach, tuple(rest))])


def build_hand(pose: Pose) -> Capsules:
    """The hand's capsules in canonical coordinates, forearm and palm first."""
    fingers = finger_joints(pose)
    thumb = thumb_joints(pose, fingers)
    bend = jnp.radians(pose.wrist)
    elbow = 34 * jnp.stack([jnp.sin(bend), -jnp.cos(bend), jnp.zeros(())])
    knuckles = jnp.asarray(_KNUCKLES)
    carpals = knuckles * jnp.array([[0.55, 0.1, 0]]) + jnp.array([[0, 0.3, 0]])
    web = jnp.stack([0.4 * thumb[0] + 0.6 * thumb[1], thumb[1]])
    start = jnp.concatenate(
        [
            jnp.array([[0.7, 0.6, -0.7], [-0.7, 0.6, -0.7]]),
            carpals,
            jnp.array([[-2.0, 1.2, 0.2]]),
            web[:1],
            thumb[:-1],
            fingers[:, :-1].reshape(12, 3),
        ]
    )
    end = jnp.concatenate(
        [
            elbow[None] + jnp.array([[1.1, 0, -0.9], [-1.1, 0, -0.9]]),
            knuckles + jnp.array([[0, 0.3, 0]]),
            jnp.array([[-2.9, 6.6, 0.2]]),
            knuckles[:1] * jnp.array([[1, 0.72, 1]]),
            thumb[1:],
            fingers[:, 1:].reshape(12, 3),
        ]
    )
    body = np.array([[2.2, 3.6]] * 2 + [[1.45, 1.25]] * 4 + [[1.5, 1.35], [1.2, 1.0]])
    pair = np.lib.stride_tricks.sliding_window_view
    digits = pair(np.vstack([_THUMB_RADII, _FINGER_RADII]), 2, axis=1).reshape(15, 2)
    blend = np.array([0.8] * 8 + [0.6] + [0.08] * 14)
    radii = jnp.asarray(np.vstack([body, digits])) * pose.girth
    return Capsules(start, end, radii, jnp.asarray(blend, jnp.float32))


def _rotation(degrees: jax.Array, axis: int) -> jax.Array:
    """Right-handed rotation about a coordinate axis, [3, 3]."""
    cos, sin = jnp.cos(jnp.radians(degrees)), jnp.sin(jnp.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    return (
        jnp.eye(3).at[[i, i, j, j], [i, j, i, j]].set(jnp.stack([cos, -sin, sin, cos]))
    )


def turn_hand(capsules: Capsules, pose: Pose) -> Capsules:
    """The hand as its view, side and roll have it."""
    turn = _rotation(pose.pitch, 0) @ _rotation(-pose.yaw, 1)
    side = jnp.stack([pose.mirror, jnp.ones(()), jnp.ones(())])
    matrix = _rotation(pose.roll, 2) @ (side[:, None] * turn)
    return capsules._replace(
        start=capsules.start @ matrix.T, end=capsules.end @ matrix.T
    )
