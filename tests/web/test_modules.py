import json
import re

import numpy as np
import pytest

from convlstm.ui.texts import TEXTS
from tests.web.conftest import WEB, make_picture, sprites

MODULES = sorted(file.stem for file in WEB.glob("*.js"))
LOG = {"scale": "log", "low": 1e-5, "high": 1, "step": 1}
MSE = {"kind": "mse", "unit": "", "digits": None}
RMSE = {"kind": "rmse", "unit": "hPa", "digits": 2}


def test_importing_a_module_changes_nothing(use, blank):
    before = blank.evaluate("document.documentElement.outerHTML")
    for module in MODULES:
        assert use(module, "Object.keys(m).length") > 0
    assert blank.evaluate("document.documentElement.outerHTML") == before


@pytest.mark.parametrize("file", [*WEB.glob("*.js"), *WEB.glob("*.html"), *WEB.glob("*.css")])
def test_no_web_file_names_a_scene(file):
    text = file.read_text("utf-8")
    assert not re.search(r"""["'`-](squares|digits|storm)\b|\bstorm""", text)
    assert file.suffix != ".js" or text.count("\n") <= 250


def test_every_text_that_the_page_asks_for_exists():
    markup = "".join(page.read_text("utf-8") for page in WEB.glob("*.html"))
    asked = re.findall(r'data-(?:text|label|title)="([^"]+)"', markup)
    for script in WEB.glob("*.js"):
        asked += re.findall(r'\btext\("([^"$]+)"', script.read_text("utf-8"))
    assert len(asked) > 100
    assert [key for key in asked if key not in TEXTS["en"]] == []


def test_both_languages_have_the_same_texts_with_the_same_places():
    english, chinese = TEXTS["en"], TEXTS["zh"]
    assert set(english) == set(chinese)
    places = re.compile(r"\{(\w+)\}")
    for key, text in english.items():
        assert set(places.findall(text)) == set(places.findall(chinese[key])), key


def test_dom_makes_nodes_and_leaves_unchanged_text_alone(use):
    assert use("dom", "m.make('p', { class: 'a' }, 'x', m.make('b')).outerHTML") == (
        '<p class="a">x<b></b></p>'
    )
    assert use("dom", "m.shape('circle', { r: 4 }) instanceof SVGCircleElement")
    assert use(
        "dom",
        "(() => { const p = m.make('p', {}, 'a'), node = p.firstChild;"
        " m.setText(p, 'a'); return p.firstChild === node; })()",
    )


def test_dom_parts_tell_each_other(use):
    told = "(() => { const got = []; m.useRoot(document.body); m.hear('x', (d) => got.push(d));"
    assert use("dom", f"{told} m.tell('x', 7); return got; }})()") == [7]


def test_memory_remembers_and_survives_a_forbidden_storage(use):
    assert use("memory", "(m.remember('a', 'b'), m.recall('a'))") == "b"
    forbid = "Object.defineProperty(window, 'localStorage', { get() { throw new Error(); } })"
    assert use("memory", f"({forbid}, m.remember('a', 'c'), m.recall('a'))") is None


def test_words_fill_places_and_prefer_the_scene(use):
    texts = {"en": {"a": "{n} of {m}", "x a": "own {n}", "b": "b"}, "zh": {"a": "共 {n}"}}
    words = "(m.useTexts(v), m.text('a', { n: 1 }))"
    assert use("words", words, texts) == "1 of {m}"
    assert use("words", "(m.wordFor('x'), m.text('a', { n: 1 }))") == "own 1"
    assert use("words", "(m.turnLanguage(), m.text('a', { n: 1 }))") == "共 1"
    assert use("words", "m.text('b')") == "b"  # the other language stands in
    assert use("words", "[m.text('none'), m.isWorded('none')]") == ["none", False]
    assert use("memory", "m.recall('language')") == "zh"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m.small(0.01234)", "0.012"),
        ("m.small(0.00063)", "0.00063"),
        ("m.small(4.21e-7)", "4.2e-7"),
        ("m.small(0)", "0"),
        ("m.small(NaN)", "–"),
        ("m.errorNumber(93.16, { digits: 1 })", "93.2"),
        ("m.percent(-12)", "-999 %"),
        ("m.percent(0.944)", "94 %"),
        ("m.decibels(null)", "–"),
        ("[m.moment(3), m.moment(0), m.moment(-2)]", ["t + 3", "t", "t − 2"]),
    ],
)
def test_numbers_are_written_as_a_person_writes_them(use, expression, expected):
    assert use("numbers", expression) == expected


def test_durations_and_units_are_worded(use):
    use("words", "m.useTexts(v)", TEXTS)
    assert use("numbers", "[0.31, 42, 300, 7200].map(m.duration)") == [
        "0.3 s",
        "42 s",
        "5 min",
        "2.0 h",
    ]
    assert use("numbers", "[m.withUnit('4', 'px'), m.withUnit('4', '')]") == ["4 px", "4"]


def test_a_logarithmic_slider_goes_to_its_ends_and_back(use):
    there = "[0, 20, 50, 80, 100].map((p) => m.toSlider(v, m.fromSlider(v, p)))"
    for place, back in zip([0, 20, 50, 80, 100], use("slider", there, LOG), strict=True):
        assert abs(place - back) <= 1
    assert use("slider", "[m.fromSlider(v, 0), m.fromSlider(v, 100)]", LOG) == [1e-5, 1]
    whole = {"scale": "log", "low": 1, "high": 5000, "step": 1}
    values = use("slider", "Array.from({ length: 101 }, (_, p) => m.fromSlider(v, p))", whole)
    assert all(float(value).is_integer() for value in values) and values == sorted(values)


def test_a_linear_slider_is_its_own_value(use):
    control = {"scale": "linear", "low": 1, "high": 8, "step": 1}
    assert use("slider", "[m.fromSlider(v, 3), m.toSlider(v, 3)]", control) == [3, 3]


def test_axes_unpack_points_and_drop_what_is_no_number(use):
    assert use("axes", "m.points('1 0.5;2 nan;3 0.25;')") == [[1, 0.5], [3, 0.25]]


def test_the_logarithmic_axis_is_led_by_the_validation_curve(use):
    axis = "m.logarithmicAxis([[1, 1e-9], [2, 0.5]], [[2, 0.002]])"
    assert use("axes", f"{axis}.ticks") == [0.0001, 0.001, 0.01, 0.1, 1]
    assert use("axes", f"[0.0001, 0.01, 1].map({axis}.place)") == pytest.approx([0, 0.5, 1])


def test_the_linear_axis_ends_a_little_over_its_largest_value(use):
    assert use("axes", "m.linearAxis(145).ticks") == [0, 50, 100, 150, 200]
    assert use("axes", "m.linearAxis(200).place(0)") == 0
    assert use("axes", "[0.03, 7, 20, 95].map(m.niceStep)") == pytest.approx([0.05, 10, 20, 100])


def test_a_chart_says_how_it_is_drawn(use):
    assert use("chart", "m.pathOf([[1, 2], [3, 4]])") == "M1.0 2.0L3.0 4.0"
    assert use("chart", "m.tickNumber(0.00001)") == "1e-5"
    assert use("chart", "m.roomOf(document.createElement('i'), [80, 60])") is None


def test_sprites_are_unpacked_into_frames_with_missing_points(use):
    frames = np.arange(24).reshape(2, 3, 4) * 10
    missing = np.zeros((3, 4), bool)
    missing[1, 2] = True
    unpacked = use(
        "frames",
        "(await m.unpackSprites(v, 4, 3)).map((f) => [[...f.grey], [...f.missing]])",
        sprites(frames, missing),
    )
    assert len(unpacked) == 2
    for frame, (grey, gone) in zip(frames, unpacked, strict=True):
        assert gone == missing.astype(int).ravel().tolist()
        assert [g for g, hole in zip(grey, gone, strict=True) if not hole] == (
            frame[~missing].tolist()
        )


def test_a_moment_that_was_seen_has_no_prediction(use):
    picture = make_picture(context=3, horizon=2)
    sizes = "(({ seen, truth, prediction }) => [seen, truth, prediction].map((f) => f.length))"
    assert use("frames", f"{sizes}(await m.unpackPicture(v))", picture) == [3, 2, 2]
    at = "[-2, 0, 1, 2].map((lead) => Object.values(m.framesAt(v, lead)))"
    frames = {"seen": ["a", "b", "c"], "truth": ["d", "e"], "prediction": ["D", "E"]}
    assert use("frames", at, frames) == [["a", None], ["c", None], ["d", "D"], ["e", "E"]]


def test_the_map_grows_brighter_and_an_error_is_blue_or_orange(use):
    light = use(
        "colours", "m.tableOf('map').map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b)"
    )
    assert len(light) == 256 and np.diff(light).min() > -0.8 and light[-1] - light[0] > 180
    low, none, high = use("colours", "[-255, 0, 255].map((d) => m.errorColour(d, 'grey', false))")
    assert low[2] > low[0] and high[0] > high[2] and none == use("colours", "m.groundOf(false)")
    quarter = "['map', 'grey'].map((colours) => m.errorColour(64, colours, false))"
    strong, weak = use("colours", quarter)
    assert strong == high and weak != high
    assert use("colours", "m.gradient").startswith("linear-gradient")


def test_contours_stand_between_the_points_and_avoid_missing_ones(use):
    levels = use("contours", "m.contourLevels(965, 1050)")
    assert levels[:2] == [970, 975] and levels[-1] == 1045
    frame = {"grey": [0, 100, 0, 100, 0, 100], "missing": [0] * 6}
    assert use("contours", "m.contourLines(v, 2, 3, 25)", frame) == [
        [0.25, 0, 0.25, 1],
        [0.25, 1, 0.25, 2],
    ]
    frame["missing"][0] = 1
    assert len(use("contours", "m.contourLines(v, 2, 3, 25)", frame)) == 1


def test_frames_are_enlarged_to_whole_multiples_that_fit(use):
    fits = use("paint", "[[64, 64, 144], [36, 33, 144], [64, 64, 36]].map((a) => m.fit(...a))")
    assert fits == [2, 4, 0.5]


def test_the_close_up_stays_inside_the_frame(use):
    frame = np.zeros((64, 64), int)
    frame[2:7, 58:63] = 255
    window = "m.closeUpWindow({ grey: v }, { width: 64, height: 64 })"
    assert use("paint", window, frame.ravel().tolist()) == [40, 0, 24, 24]


def test_a_map_is_painted_large_with_hatched_holes_and_a_grey_frame_as_it_is(use):
    paint = """(({ colours, room }) => {
      const canvas = document.createElement('canvas');
      canvas.getContext('2d', { willReadFrequently: true });
      const frame = { grey: new Uint8ClampedArray(24).fill(255), missing: new Uint8Array(24) };
      frame.missing[0] = 1;
      const stage = { colours, low: 0, high: 1 };
      m.paint(canvas, frame, { picture: { width: 6, height: 4 }, stage, room, lines: true });
      const at = (x, y) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
      return [canvas.width, canvas.height, canvas.style.width, at(0, 1), at(canvas.width - 1, 2)];
    })(v)"""
    width, height, shown, hole, point = use("paint", paint, {"colours": "map", "room": 60})
    assert (width, height, shown) == (60, 40, "60px")
    assert point == [253, 231, 37, 255] and hole[:3] != point[:3]
    width, height, shown, *_ = use("paint", paint, {"colours": "grey", "room": 60})
    assert (width, height, shown) == (6, 4, "60px")


def test_scores_are_taken_of_the_validation_set_else_of_the_sequence(use):
    picture = make_picture()
    snapshot = {
        "scores": None,
        "picture": picture,
        "stage": {"error": MSE, "baselines": ["copy_last", "black"]},
    }
    scores = use("scores", "m.scoresOf(v)", snapshot)
    assert scores["of"] == "sequence"
    assert scores["model"]["error"] == pytest.approx(0.001)
    assert scores["skill"] == pytest.approx(0.9)
    one = picture["scores"][0]
    snapshot["scores"] = {"model": one, "baselines": {"copy_last": one, "black": one}, "skill": 0.5}
    scores = use("scores", "m.scoresOf(v)", snapshot)
    assert (scores["of"], scores["skill"]) == ("validation", 0.5)
    assert use("scores", "m.scoresOf(v)", {**snapshot, "scores": None, "picture": None}) is None


def test_root_mean_squares_are_averaged_as_squares(use):
    scores = [{"error": 3, "psnr": 1, "ssim": 1}, {"error": 4, "psnr": 1, "ssim": 1}]
    mean = "m.meanOverLeads(v, {kind}).error"
    rmse = use("scores", mean.replace("{kind}", json.dumps(RMSE)), scores)
    assert rmse == pytest.approx(12.5**0.5)
    assert use("scores", mean.replace("{kind}", json.dumps(MSE)), scores) == 3.5
    assert use("scores", "m.skillOf(1, 2, v)", RMSE) == 0.75
    assert use("scores", "m.skillOf(1, 2, v)", MSE) == 0.5


def test_only_the_better_baseline_counts_and_not_by_a_hair(use):
    assert use("scores", "m.beats(0.003, [0.01, 0.004])")
    assert not use("scores", "m.beats(0.005, [0.01, 0.004])")
    assert not use("scores", "m.beats(0.00399, [0.01, 0.004])")


def test_a_physical_error_is_shown_by_lead_time_and_else_the_ssim(use):
    assert use("lead", "[v, { error: { kind: 'mse' } }].map(m.leadMeasure)", {"error": RMSE}) == [
        "error",
        "ssim",
    ]


def test_scenes_come_from_the_server_alone(use):
    given = {
        "waves": {"controls": [], "presets": {"calm": {"a": 1}}},
        "sand": {"controls": [], "presets": {"dry": {}}},
    }
    assert use("scenes", "(m.makeScenes(v), [m.here.name, m.here.settings.a])", given) == [
        "waves",
        1,
    ]
    assert use("scenes", "[m.firstScene({ scene: 'sand' }), m.firstScene({ speed: '2' })]") == [
        "sand",
        "waves",
    ]
    assert use("scenes", "(m.goTo('sand'), m.firstScene(null))") == "sand"  # where one was last
    assert use("scenes", "m.firstScene({ scene: 'constructor' })") == "waves"


def test_the_server_answers_and_a_dead_line_is_a_notice(use):
    server = "{ hi: async (p) => p + 1, dead: () => Promise.reject(), mute: async () => null }"
    use("server", f"m.useServer({{ server: {server} }})")
    assert use("server", "await m.ask('hi', 1)") == 2
    for name in ("dead", "mute"):
        assert use("server", f"await m.ask('{name}', 1)") == {"notice": {"key": "offline"}}


def test_notices_are_worded_with_the_names_of_settings(use):
    use("words", "m.useTexts(v)", TEXTS)
    refused = {
        "key": "refused",
        "name": "seed",
        "value": "-1",
        "rule": "integer",
        "details": {"low": 0, "high": 9},
    }
    assert (
        use("notices", "m.wordNotice(v)", refused)
        == "Seed is -1: must be a whole number from 0 to 9."
    )
    unknown = {"key": "refused", "name": "seed", "rule": "of tomorrow", "text": "seed is odd."}
    assert use("notices", "m.wordNotice(v)", unknown) == "seed is odd."
    reset = {"key": "reset", "names": ["num_layers", "kernel_size"]}
    assert "Layers, Kernel" in use("notices", "m.wordNotice(v)", reset)


def test_a_preset_is_known_by_its_settings(use):
    presets = {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    settings = "[{ x: 1, y: 3, z: 0 }, { x: 2 }].map((s) => m.presetOf(s, v))"
    assert use("settings", settings, presets) == ["b", ""]


def test_a_short_or_shipped_training_is_thrown_away_unasked(use):
    cases = "[{ seconds: 9 }, { seconds: 11 }, { seconds: 11, shipped: true }, null]"
    assert use("reset", f"{cases}.map(m.isWorthAsking)") == [False, True, False, False]


def test_a_link_keeps_what_is_the_viewers(use):
    assert use("share", "m.queryOf('?speed=2&__theme=dark&view=api')") == {"speed": "2"}
    assert use("share", "m.queryOf('?__theme=dark')") is None
    assert use("share", "m.queryOf('?class=secret')") is None


def test_a_board_s_rows_are_sorted_by_any_heading_and_those_without_a_score_last(use):
    use("words", "m.useTexts(v)", TEXTS)
    rows = [
        {"number": 10, "name": "", "state": "training", "step": 5, "steps": 10},
        {"number": 9, "name": "", "state": "shipped", "step": 9, "steps": 10},
        {"number": 3, "name": "ada", "state": "goal", "step": 9, "steps": 10}
        | {"best": 1, "baseline": ["black", 2]},
        {"number": 4, "name": "Bob", "state": "goal", "step": 10, "steps": 10}
        | {"best": 0.1, "baseline": ["black", 1]},
    ]
    order = "[...v].sort((a, b) => m.compareRows(a, b, {}, {})).map((row) => row.number)"
    for by, turned, expected in (
        ("student", "false", [3, 4, 9, 10]),
        ("student", "true", [10, 9, 4, 3]),
        ("progress", "false", [4, 3, 10, 9]),
        ("progress", "true", [9, 10, 3, 4]),
        ("best", "false", [4, 3, 9, 10]),
        ("best", "true", [3, 4, 9, 10]),
    ):
        compared = order.replace("{}, {}", f"'{by}', {turned}")
        assert use("board", compared, rows) == expected, (by, turned)


def test_a_small_curve_stays_in_its_room_and_is_a_dot_at_first(use):
    svg = "document.createElementNS('http://www.w3.org/2000/svg', 'svg')"
    draw = f"(() => {{ const s = {svg}; m.drawSpark(s, v.curve, v); return s.innerHTML; }})()"
    given = {"steps": 10, "baseline": ["black", 0.1], "error": {"axis": "log"}}
    drawn = use("spark", draw, given | {"curve": [[5, 0.1], [10, 0.001]]})
    assert (
        'd="M50.0 2.0L100.0 18.0"' in drawn and 'class="baseline" x1="0" x2="100" y1="2"' in drawn
    )
    assert 'class="validation dot"' in use("spark", draw, given | {"curve": [[5, 0.1]]})
    assert use("spark", draw, given | {"curve": []}) == ""


def test_a_field_of_view_grows_with_every_frame_before(use):
    answer = {"moment": 0, "reach": 4, "hop": 2, "travels": 4, "closed": True}
    assert use("field", "[0, -1, -3].map((lead) => m.radiusOf(v, lead))", answer) == [4, 6, 10]
    earlier = {**answer, "moment": -2}
    assert use("field", "[-2, -4].map((lead) => m.radiusOf(v, lead))", earlier) == [4, 8]
    # What it predicted itself it has read again: each such frame adds the whole way.
    later = {**answer, "moment": 2}
    assert use("field", "m.radiusOf(v, 0)", later) == 12
    assert use("field", "m.radiusOf(v, 0)", {**later, "closed": False}) == 8


def test_how_far_something_moves_is_measured_from_the_nearest_bright_pixel(use):
    frames = np.zeros((2, 8, 8), int)
    frames[0, 2:4, 2:4] = frames[1, 3:5, 5:7] = 255
    distance = "m.distance({ grey: v[0] }, { grey: v[1] }, 8)"
    flat = frames.reshape(2, -1).tolist()
    assert use("inside", distance, flat) == 3
    assert use("inside", distance, [flat[0], flat[0]]) == 0
    assert use("inside", distance, [flat[0], [0] * 64]) == 0


def test_spans_stand_on_the_first_line_that_is_free(use):
    spans = [[0, 10], [5, 8], [11, 20], [9, 12], [30, 40]]
    assert use("curve", "m.linesOf(v)", spans) == [0, 1, 0, 1, 0]
    assert use("curve", "m.linesOf(v)", []) == []
