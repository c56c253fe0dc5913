import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from drift_wm.envs.kinematics import StateBatch, axis_angle, normalised, product, rotate

ARM = """
<mujoco>
  <worldbody>
    <site name="fixed" pos="1 2 3"/>
    <body name="base" pos=".1 .2 .3" quat=".9 .1 -.2 .3">
      <joint name="slide" type="slide" axis="1 1 0" ref=".2"/>
      <joint name="turn" type="hinge" axis="0 1 1" pos=".1 0 .2" ref=".5"/>
      <geom name="block" type="box" size=".1 .2 .3" pos=".3 -.1 0" mass="1"/>
      <body name="rod" pos="0 .4 0" quat=".7 0 .7 .1">
        <joint name="socket" type="ball" pos="0 .1 0"/>
        <geom size=".1" pos="0 .2 .1"/>
        <site name="end" pos="0 0 .5" quat=".6 .8 0 0"/>
      </body>
    </body>
    <body name="drone" pos="0 0 2">
      <freejoint name="float"/>
      <geom size=".1"/>
      <body name="camera" pos=".1 0 -.1"><geom size=".02"/></body>
    </body>
    <body name="hand" mocap="true"><geom size=".1"/></body>
  </worldbody>
  <sensor>
    <framepos name="end" objtype="site" objname="end"/>
    <jointpos name="turn" joint="turn"/>
  </sensor>
</mujoco>
"""


def arm_states(model, shape, rng):
    """Random states of a shape, their `StateBatch`, and the simulator's own answer for each."""
    size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    states = rng.normal(size=(*shape, size))
    sensordata = np.zeros((*shape, model.nsensordata))
    answers = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, states[index], mujoco.mjtState.mjSTATE_FULLPHYSICS)
        mujoco.mj_forward(model, data)
        sensordata[index] = data.sensordata
        answers[index] = data
    return StateBatch(model, states, np.zeros((*shape, 0)), sensordata), answers


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_poses_are_those_of_the_simulator(shape):
    model = mujoco.MjModel.from_xml_string(ARM)
    batch, answers = arm_states(model, shape, np.random.default_rng(0))
    for index in np.ndindex(shape):
        here, data = (slice(None), *index), answers[index]
        for body in ("base", "rod", "drone", "camera"):
            np.testing.assert_allclose(batch.body_position(body)[here], data.body(body).xpos, atol=1e-12)
            np.testing.assert_allclose(batch.centre_of_mass(body)[here], data.body(body).xipos, atol=1e-12)
            axes = np.stack([batch.body_axis(body, axis)[here] for axis in "xyz"], axis=1)
            np.testing.assert_allclose(axes, data.body(body).xmat.reshape(3, 3), atol=1e-12)
        for site in ("fixed", "end"):
            np.testing.assert_allclose(batch.site_position(site)[here], data.site(site).xpos, atol=1e-12)
        np.testing.assert_allclose(batch.geom_position("block")[here], data.geom("block").xpos, atol=1e-12)
        np.testing.assert_allclose(batch.sensor("end")[here], data.site("end").xpos, atol=1e-12)


def test_joints_are_read_by_name():
    model = mujoco.MjModel.from_xml_string(ARM)
    batch, _ = arm_states(model, (4,), np.random.default_rng(1))
    np.testing.assert_allclose(batch.joint_position("turn"), batch.sensor("turn")[0])
    np.testing.assert_array_equal(batch.joint_velocity("turn"), batch.qvel[:, 1])
    assert batch.qpos.shape == (4, model.nq)


def test_a_vector_in_the_frame_of_a_body():
    model = mujoco.MjModel.from_xml_string(ARM)
    batch, answers = arm_states(model, (2,), np.random.default_rng(2))
    vector = np.array([[1.0, 0.5], [2.0, -1.0], [3.0, 0.0]])
    expected = [answers[i].body("rod").xmat.reshape(3, 3).T @ vector[:, i] for i in range(2)]
    np.testing.assert_allclose(batch.to_body_frame(vector, "rod"), np.stack(expected, axis=1), atol=1e-12)


def test_a_mocap_body_is_refused():
    model = mujoco.MjModel.from_xml_string(ARM)
    batch, _ = arm_states(model, (1,), np.random.default_rng(0))
    with pytest.raises(ValueError, match="'hand' is a mocap body"):
        batch.body_position("hand")


def test_an_unknown_name_is_refused():
    model = mujoco.MjModel.from_xml_string(ARM)
    batch, _ = arm_states(model, (1,), np.random.default_rng(0))
    with pytest.raises(KeyError, match="elbow"):
        batch.body_position("elbow")


components = st.floats(-3, 3).map(lambda x: round(x, 3))
quaternions = hnp.arrays(np.float64, (4, 2), elements=components).filter(
    lambda q: bool((np.abs(q).sum(axis=0) > 0.1).all())
)
vectors = hnp.arrays(np.float64, (3, 2), elements=components)


@settings(max_examples=50, deadline=None)
@given(quaternions, quaternions, vectors)
def test_rotations_compose_and_keep_lengths(left, right, vector):
    left, right = normalised(left), normalised(right)
    turned = rotate(left, rotate(right, vector))
    np.testing.assert_allclose(rotate(product(left, right), vector), turned, atol=1e-12)
    lengths = np.linalg.norm(vector, axis=0)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=0), lengths, atol=1e-12)


def test_a_quarter_turn_about_z_takes_x_to_y():
    quarter = axis_angle(np.array([0.0, 0.0, 1.0]), np.array([np.pi / 2]))
    np.testing.assert_allclose(rotate(quarter, np.array([1.0, 0.0, 0.0]))[:, 0], [0, 1, 0], atol=1e-15)
