"""One's own clip: files, videos that the browser decodes, and the camera, each trained on."""

import base64
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import shoot
from tests.browser.steps import looks, press, small, wait_for_another, wait_for_state

NOTICE = ".notice-text"
# A disc that bounces, drawn and recorded by the browser itself; three seconds of it.
RECORD = """async (kind) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 120 });
  const ink = canvas.getContext('2d'), parts = [];
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: kind });
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  let [x, y, dx, dy] = [40, 30, 3, 2];
  for (let n = 0; n < 90; n += 1) {
    ink.fillStyle = '#102030';
    ink.fillRect(0, 0, 160, 120);
    ink.fillStyle = '#f0a040';
    ink.beginPath();
    ink.arc(x, y, 18, 0, 7);
    ink.fill();
    if (x + dx < 18 || x + dx > 142) dx = -dx;
    if (y + dy < 18 || y + dy > 102) dy = -dy;
    [x, y] = [x + dx, y + dy];
    await new Promise((resolve) => { setTimeout(resolve, 33); });
  }
  recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}"""


def bouncing(count: int = 150, side: int = 48) -> list[Image.Image]:
    y, x = np.mgrid[:side, :side]
    place, step, frames = np.array([14.0, 20.0]), np.array([2.0, 1.0]), []
    for _ in range(count):
        frames.append(
            Image.fromarray((255 * (np.hypot(x - place[0], y - place[1]) < 7)).astype("u1"))
        )
        step = np.where((place + step < 7) | (place + step > side - 7), -step, step)
        place += step
    return frames


def open_clip(page: Page, *files: object) -> int:
    """Open a clip; returns how many frames the page says it has."""
    page.set_input_files("[data-do=upload-clip]", *files)
    expect(page.locator(NOTICE)).to_contain_text("Your clip is open")
    expect(page.locator(".clip-said")).to_be_empty()
    return int(re.search(r"(\d+) frames", page.inner_text(NOTICE)).group(1))


def train(page: Page) -> None:
    press(page, "train")
    wait_for_state(page, "finished")  # so soon that "training" may never be painted
    expect(page.locator("[data-score=error]")).not_to_have_text("–")


def test_a_gif_is_learnt_better_than_repeating_its_last_frame_and_goes_on(open_page, tmp_path):
    first, *others = bouncing()
    first.save(tmp_path / "disc.gif", save_all=True, append_images=others, duration=50)
    page = open_page(f"{small('own', 160)}&colours=grey&context_frames=4&horizon=1")
    expect(page.locator(".clip")).to_be_visible()
    assert open_clip(page, tmp_path / "disc.gif") == 150
    train(page)
    skill = float(page.inner_text("[data-score=skill]").split()[0].replace("−", "-"))
    assert skill > 0  # 0 is repeating the last frame
    press(page, "beyond")
    expect(page.locator(".sample-name")).to_have_text("after the end")
    expect(page.locator(".row-frames.prediction figure")).to_have_count(50)
    expect(page.locator(".view.truth")).to_be_hidden()
    shoot(page, "clip-beyond")
    press(page, "leave-speed")
    expect(page.locator(".sample-name")).to_have_text("sample 1 of 8")
    expect(page.locator(".view.truth")).to_be_visible()


@pytest.mark.parametrize("kind", ["video/mp4;codecs=avc1.42E01E", "video/webm;codecs=vp8"])
def test_a_video_is_decoded_by_the_browser_and_trained_on(open_page, tmp_path, kind):
    page = open_page(small("own", 30))
    video = tmp_path / f"disc.{kind[6:].split(';')[0]}"
    video.write_bytes(base64.b64decode(page.evaluate(RECORD, kind)))
    shipped = looks(page, "truth")
    assert open_clip(page, video) >= 30
    wait_for_another(page, "truth", shipped)
    truth = page.locator(".view.truth canvas")
    colours = truth.evaluate(
        """canvas => {
          const rgba = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          let most = 0;
          for (let i = 0; i < rgba.length; i += 4) most = Math.max(most, rgba[i] - rgba[i + 2]);
          return most;
        }"""
    )
    assert colours > 100  # the disc is orange
    train(page)


def test_what_the_camera_sees_is_recorded_and_trained_on(open_page):
    page = open_page(small("own", 30), permissions=["camera"])
    press(page, "camera")
    page.wait_for_function("document.querySelector('.clip video').videoWidth > 0")
    shoot(page, "clip-camera")
    press(page, "record")
    expect(page.locator(".clip-said")).to_contain_text("Recording")
    expect(page.locator(NOTICE)).to_contain_text("Your clip is open: 100 frames")
    expect(page.locator(".clip-camera")).to_be_hidden()  # and the camera is off
    train(page)


def test_a_camera_that_is_not_allowed_is_told_of(open_page):
    page = open_page("?scene=own", permissions=[])
    press(page, "camera")
    expect(page.locator(NOTICE)).to_contain_text("camera was not allowed")
    expect(page.locator(".clip-camera")).to_be_hidden()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("clip.gif", b"no picture at all", "The clip is"),
        ("clip.mp4", b"no video at all", "cannot play this video"),
        ("clip.npy", b"\x93NUMPY\x01\x00" + bytes(50), "damaged"),
    ],
)
def test_what_is_no_clip_is_refused_and_changes_nothing(open_page, name, content, said):
    page = open_page("?scene=own")
    wait_for_state(page, "shipped")
    file = {"name": name, "mimeType": "", "buffer": content}
    page.set_input_files("[data-do=upload-clip]", file)
    expect(page.locator(NOTICE)).to_contain_text(said)
    expect(page.locator(".clip-said")).to_be_empty()
    wait_for_state(page, "shipped")


def test_only_one_s_own_clip_asks_for_a_clip(show):
    for scene in ("squares", "digits", "storm"):
        page = show(scene)
        expect(page.locator(".clip")).to_be_hidden()
        expect(page.locator("[data-do=beyond]")).to_be_hidden()
