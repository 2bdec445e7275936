"""Contact sheets, flow in colour, which clips are shown."""

import base64

import cv2
import numpy as np

from slimstream.stages.evaluate.report import examples, images


def decode(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_a_sheet_runs_from_the_first_to_the_last_frame() -> None:
    pack = np.zeros((16, 32, 32, 5), np.uint8)
    pack[..., 0] = (np.arange(16) * 15)[:, None, None]  # redder and redder
    pictures = [decode(uri) for uri in images.contact_sheet(pack, 4 / 3)]
    assert [p.shape for p in pictures] == [(200, 267, 3)] * 6
    reds = [int(p[..., 0].mean()) for p in pictures]
    assert reds == sorted(reds) and abs(reds[0]) < 5 and abs(reds[-1] - 225) < 5
    assert len(images.contact_sheet(pack[:1], 1.0)) == 1


def test_flow_at_rest_is_white_and_opposite_directions_have_opposite_hues() -> None:
    flow = np.full((8, 9, 2), 128, np.uint8)
    flow[:, 3:6, 0], flow[:, 6:, 0] = 228, 28
    picture = images.flow_picture(flow)
    assert (picture[:, :3] == 255).all()
    hue = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 0].astype(int)
    assert abs(abs(hue[0, 4] - hue[0, 7]) - 90) <= 2  # half the circle of OpenCV's 180


def test_noise_of_quantisation_stays_pale() -> None:
    flow = np.random.default_rng(0).integers(127, 130, (32, 32, 2)).astype(np.uint8)
    saturation = cv2.cvtColor(images.flow_picture(flow), cv2.COLOR_RGB2HSV)[..., 1]
    assert saturation.max() < 140


def test_heat_is_where_it_was_put() -> None:
    heat = np.zeros((5, 5))
    heat[1, 3] = 1
    grey = np.full((100, 100, 3), 120, np.uint8)
    laid = images.overlay(grey, heat).astype(int)
    colourful = laid.max(-1) - laid.min(-1)
    y, x = np.unravel_index(colourful.argmax(), colourful.shape)
    assert 20 <= y < 40 and 60 <= x < 80 and colourful[90, 10] == 0


def test_wrong_clips_come_first_and_of_every_class() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    said = np.array([0, 1, 1, 1, 0, 2, 2, 2])
    sure = np.array([0.9, 0.8, 0.95, 0.7, 0.6, 0.9, 0.8, 0.99])
    probabilities = np.stack([np.where(said == k, sure, (1 - sure) / 2) for k in range(3)], axis=1)
    assert examples.select_examples(truth, probabilities, 2) == [2, 4, 7, 0]
    assert examples.misclassified(truth, [probabilities, np.eye(3)[truth]]) == [2, 1, 4]
    assert examples.misclassified(truth, [np.eye(3)[truth]]) == []
