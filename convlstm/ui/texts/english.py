"""The page in English."""

from convlstm.checks import RULES

ENGLISH: dict[str, str] = {
    # The bar
    "theme": "dark | light",
    "projector": "projector",
    "dismiss": "dismiss this message",
    "settings": "settings",
    "comma": ", ",
    "scenes": "what moves",
    "to train": "Skip to Train",
    "scene squares": "Moving squares",
    "scene digits": "Moving MNIST",
    "scene storm": "The blizzard of 1996",
    "scene own": "Your clip",
    "connecting": "getting ready: this takes a few seconds",
    "epoch": "epoch {n} of {of}",
    "horizon now": "learning {n} of {of} frames ahead (curriculum)",
    "a step": "{ms} ms a step",
    "left": "{time} left",
    "seconds": "{n} s",
    "minutes": "{n} min",
    "hours": "{n} h",
    "state idle": "ready: press Train",
    "state waiting": "waiting, place {place} in line",
    "state training": "training",
    "state paused": "paused: press Continue or Step",
    "state stopped": "stopped, result kept: Train starts over",
    "state goal": "reached its goal: an error below the one asked for",
    "state finished": "finished: Train starts over",
    "state patience": "ended: no longer better on the validation set",
    "state diverged": "diverged: training got out of hand",
    "state failed": "failed",
    "state shipped": "trained earlier, shown on unseen data: press Train for your own",
    "reason unwatched": "nobody watched",
    "reason worker": "twice it brought down the part of the server that computes",
    "reason budget": "its computing time is used up",
    "teacher state shipped": "trained earlier, shown on unseen data",
    "advice diverged": "Training diverged, most often because its steps are too large. The "
    "best weights so far were kept. Try a lower learning rate.",
    "advice failed": "Something broke in this run: {reason}. Reset starts over.",
    "advice black": "The prediction is all black: its error is low, as frames are mostly "
    "black, but nothing is learnt. Train longer or raise the learning rate.",
    # The panel
    "preset": "preset",
    "scene": "Scene",
    "network": "Network",
    "training": "Training",
    "drawer": "Settings",
    "more": "more: {names}",
    "preset own": "Your own settings",
    "sentence own": "Choose a preset to go back to known settings.",
    "unit px/frame": "px/frame",
    "unit px": "px",
    "unit hPa": "hPa",
    "unit K": "K",
    "unit m/s": "m/s",
    "unit frame": "a frame",
    "unit frames": "frames",
    "unit min": "min",
    "reach enough": "✓ Information travels {reach} px a frame: enough for speed {speed}",
    "reach short": "✗ Information travels only {reach} px a frame: it cannot follow speed {speed}",
    "cost": "About {time} of training, {mib} MiB.",
    "help cost": "An estimate of the time that this training takes here, and of the computer's "
    "memory that it needs.",
    "about": "{parameters} parameters · {sequences} sequences",
    "help about": "Parameters are the numbers that training changes; sequences are what they "
    "have been learnt from so far.",
    "train": "Train",
    "continue": "Continue",
    "pause": "Pause",
    "step": "Step",
    "stop": "Stop",
    "reset": "Reset",
    "help step": "One training step, then pause (key: s)",
    "help stop": "End this run and keep what it has learnt",
    "help reset": "Throw this training away and start from fresh weights (key: r)",
    "reset title": "Throw this training away?",
    "reset question": "The network has learnt for {time}, and a reset forgets all of it. A "
    "checkpoint, under “Save and share”, would keep it.",
    "train question": "The network has learnt for {time}. Training anew starts from fresh weights "
    "and forgets all of it. A checkpoint, under “Save and share”, would keep it.",
    "reset go": "Throw it away",
    "reset keep": "Keep it",
    # Settings of scenes
    "name speed": "Speed",
    "help speed": "How far things move from one frame to the next.",
    "squares name speed": "Square speed",
    "squares help speed": "Each square moves 1 to this many px a frame, drawn separately across "
    "and down; at 0 it stands still.",
    "digits name speed": "Digit speed",
    "digits help speed": "Every digit moves this far a frame, in a direction of its own; the "
    "Moving MNIST benchmark uses 3.6.",
    "name walls": "Walls",
    "help walls": "At the edge, squares come back on the other side (wrap) or turn round (bounce).",
    "name num_squares": "Squares",
    "help num_squares": "How many squares move at once.",
    "name square_size": "Square size",
    "help square_size": "Side of a square; at most a third of the canvas.",
    "name canvas": "Canvas",
    "help canvas": "Side of the frame; twice the side is four times the work.",
    "name directions": "Directions",
    "help directions": "Squares move down and to the right only, or every way, or straight to the "
    "right.",
    "name exact_speed": "Exact speed",
    "help exact_speed": "Every square moves at exactly the speed set, instead of at 1 px a frame "
    "up to it.",
    "name bar_width": "Bar width",
    "help bar_width": "An upright bar hides what is behind it, so that the network has to remember "
    "the square. 0 takes the bar away.",
    "name bar_left": "Bar from the left",
    "help bar_left": "How far the bar stands from the left side of the frame.",
    "name bar_hides": "The bar hides",
    "help bar_hides": "What the bar hides: squares in the input only, while the truth still shows "
    "them, or in the truth as well.",
    "name bar_grows": "Bar grows",
    "help bar_grows": "Share of the training over which the bar grows from 1 px to its width. "
    "Where it is wide from the start, little is learnt.",
    "name dropped_frames": "Dropped frames",
    "help dropped_frames": "Share of the frames seen that are black, as if lost, picked at "
    "random. The first is always shown.",
    "name noise": "Noise",
    "help noise": "How strong the noise is on the frames that the network sees; the truth "
    "stays clean.",
    "name small_frames": "Small frames first",
    "help small_frames": "Share of the training in which the frames are a quarter narrower and "
    "lower. A step on them takes little more than half of the time, and what is learnt there holds "
    "on whole frames.",
    "name num_digits": "Digits",
    "help num_digits": "How many digits move across each other; the Moving MNIST benchmark "
    "uses two.",
    "name flips": "Flips",
    "help flips": "Training sequences are mirrored at random: more to learn from, though "
    "mirrored digits are no digits any more.",
    "name variable": "Variable",
    "help variable": "Which part of the weather is read and predicted; of all, the pressure is "
    "shown and scored.",
    "name crop": "Training piece",
    "help crop": "Side of the piece of the map, at a random place, that training sees; 0 is "
    "the whole map, which scores always use.",
    "own help canvas": "Side of the square frames that your clip is scaled to; twice the side is "
    "four times the work.",
    "name colours": "Colours",
    "help colours": "Whether the network sees your clip in colour or in grey.",
    "choice colour": "colour",
    "choice grey": "grey",
    "name every": "Every n-th frame",
    "help every": "1 takes all frames of your clip, 2 every second one: then things move twice as "
    "far from one frame to the next, and there are half as many frames to learn from.",
    "own help crop": "Side of the piece of each frame, at a random place, that training sees; 0 is "
    "the whole frame. Smaller pieces train faster.",
    "name context_frames": "Frames seen",
    "help context_frames": "How many frames the network sees before its first prediction.",
    "name horizon": "Horizon",
    "help horizon": "How many frames ahead it learns to predict, and is scored on.",
    # Settings of the network
    "name hidden_channels": "Hidden channels",
    "help hidden_channels": "How many maps the memory has (channels of c and h): more can hold "
    "more, but are slower.",
    "name kernel_size": "Kernel",
    "help kernel_size": "Side k of the kernel, the window through which a layer sees: "
    "information travels (k−1)/2 px a layer and frame; with patches, as many patches.",
    "digits help kernel_size": "Side of the kernel, the window through which a layer sees, "
    "counted in patches: larger sees further.",
    "name num_layers": "Layers",
    "help num_layers": "How many ConvLSTM layers stand on top of each other; with each the "
    "network sees further.",
    "name architecture": "Architecture",
    "help architecture": "Layers on one grid (stack), or layers that work on smaller and "
    "smaller copies of the frame, and so see further (multi-scale).",
    "name patch_size": "Patch",
    "help patch_size": "Blocks with this many px a side are read as one point with many "
    "channels: faster, but coarser.",
    "name output": "Output",
    "help output": "Sigmoid keeps predicted values between 0 and 1; linear leaves them free "
    "and cuts off what is outside; change predicts what is added to the last frame; transport "
    "predicts where each block of the last frame goes, up to 4 px away, and paints the rest.",
    "name rollout": "Rollout",
    "help rollout": "After the frames seen: closed loop reads each prediction as the next "
    "frame; states only reads nothing more.",
    "name peephole": "Peephole",
    "help peephole": "The gates also read the memory c itself.",
    "name residual": "Residual",
    "help residual": "Each layer adds its input to its output, which makes deep networks "
    "easier to train; a stack needs two layers for it.",
    "name attention": "Attention",
    "help attention": "Only for multi-scale: its coarse scales look at all places at once.",
    "name forget_bias": "Forget bias",
    "help forget_bias": "Where the forget gate starts: above 0 it keeps more of the memory at "
    "first, so that training reaches further back in time.",
    "name recompute": "Recompute",
    "help recompute": "Training computes the gates a second time instead of keeping them: less "
    "of the computer's memory, but slower.",
    # Settings of the training
    "name epochs": "Epochs",
    "help epochs": "How long to train: an epoch is as many training steps as “Steps an epoch” "
    "says, each on sequences chosen at random.",
    "name batches_per_epoch": "Steps an epoch",
    "help batches_per_epoch": "Training steps in each epoch. In one step the network sees one "
    "batch, and its weights change once.",
    "name batch_size": "Batch",
    "help batch_size": "How many sequences one training step learns from.",
    "name learning_rate": "Learning rate",
    "help learning_rate": "How far one step changes the weights: too high, and training "
    "diverges; too low, and it crawls.",
    "name loss": "Loss",
    "help loss": "What training makes small: MSE is the squared error, L1 the absolute one, "
    "SSIM how unlike pictures look, BCE (cross-entropy) how wrong the network is where it was "
    "sure; + adds two of them. The chart shows the same error whatever is chosen.",
    "digits help loss": "What training makes small: MSE is the squared error, L1 the absolute "
    "one, SSIM how unlike pictures look, BCE (cross-entropy) how wrong the network is where "
    "it was sure; + adds two of them. With the output sigmoid, SSIM gives sharper digits; MSE "
    "hedges with grey.",
    "name ssim_weight": "SSIM weight",
    "help ssim_weight": "How much SSIM counts in the loss BCE + SSIM: with more of it the "
    "background is black sooner, and what the network is not sure of fades.",
    "name targets": "Targets",
    "help targets": "What it learns to predict: every next frame, those seen included (all), "
    "or only the frames after those (future).",
    "name optimizer": "Optimizer",
    "help optimizer": "How errors become changes of the weights: Muon learns kernels faster, "
    "AdamW is the usual choice.",
    "name weight_decay": "Weight decay",
    "help weight_decay": "Pulls the kernels' weights towards 0 in every step; Muon needs some.",
    "name schedule": "Schedule",
    "help schedule": "One cycle raises the learning rate to the value set and lowers it to "
    "almost 0; constant leaves it there.",
    "name warm_up": "Warm-up",
    "help warm_up": "Share of the run over which the one-cycle learning rate rises.",
    "name curriculum": "Curriculum",
    "help curriculum": "Share of the run over which the number of frames to predict grows from "
    "1 to the horizon.",
    "name scheduled_sampling": "Scheduled sampling",
    "help scheduled_sampling": "Share of the run in which it may still read true frames "
    "instead of its own predictions, less and less often.",
    "name gradient_clip": "Gradient clip",
    "help gradient_clip": "A gradient, which says how the weights should change, is shortened "
    "to this length; 0 leaves all as they are.",
    "name ema": "Averaged weights",
    "help ema": "How slowly an average of the weights follows them; this average is shown, "
    "scored and saved. 0 for none.",
    "name augmented": "Test-time flips",
    "help augmented": "Predictions are averaged over mirrored copies of the sequence.",
    "name precision": "Precision",
    "help precision": "How finely numbers are kept: float32 most finely, bfloat16 and float16 "
    "more coarsely and often faster; auto chooses what suits this machine.",
    "name max_minutes": "Minutes",
    "help max_minutes": "The run takes this much computing time instead of the epochs; 0 "
    "leaves it to the epochs.",
    "name stop_below": "Stop below MSE",
    "help stop_below": "The run ends when the mean squared error (MSE) per pixel on the "
    "validation set falls below this; 0 never ends it.",
    "name patience": "Patience",
    "help patience": "The run ends after this many evaluations in a row without a better loss "
    "on the validation set; 0 never ends it.",
    "name evaluate_every": "Evaluate every",
    "help evaluate_every": "Training steps between two scores on the validation set.",
    "name seed": "Seed",
    "help seed": "Where chance begins: with the same seed and settings a run comes out the "
    "same again.",
    "name drawing": "The drawing",
    "name weights": "The size of the network",
    "name angle": "The direction",
    "name sample": "The sample",
    "choice wrap": "wrap",
    "choice bounce": "bounce",
    "choice down-right": "down-right",
    "choice all": "all",
    "choice right": "right",
    "choice input": "input only",
    "choice both": "input and truth",
    "choice future": "future",
    "choice sigmoid": "sigmoid",
    "choice linear": "linear",
    "choice change": "change",
    "choice transport": "transport",
    "choice onecycle": "one cycle",
    "choice constant": "constant",
    "choice auto": "auto",
    "choice closed": "closed loop",
    "choice states": "states only",
    "choice bce": "BCE",
    "choice mse": "MSE",
    "choice l1": "L1",
    "choice ssim": "SSIM",
    "choice l1+mse": "L1 + MSE",
    "choice mse+ssim": "MSE + SSIM",
    "choice bce+ssim": "BCE + SSIM",
    "choice stack": "stack",
    "choice multiscale": "multi-scale",
    "choice muon": "Muon",
    "choice adamw": "AdamW",
    "choice pressure": "pressure",
    "choice temperature": "temperature",
    "choice wind": "wind",
    "value True": "on",
    "value False": "off",
    # The curve and the scores
    "curve title": "Prediction error",
    "curve label": "chart of the prediction error over the run",
    "curve train": "training",
    "curve validation": "validation",
    "mark resumed": "resumed",
    "curve empty": "Press Train and watch the error fall here",
    "curve waits": "The error will fall here",
    "epoch axis": "epoch {n}",
    "measure mse": "MSE",
    "measure rmse": "RMSE",
    "in unit": "in {unit}",
    "digits in unit": "{unit}",
    "scale log": "log scale",
    "scale linear": "linear scale",
    "baseline copy_last": "repeat last frame",
    "baseline black": "black frame",
    "baseline climatology": "climatology",
    "help baseline copy_last": "Repeat last frame (persistence): predicts that nothing moves.",
    "help baseline black": "Black frame: predicts that nothing is there.",
    "help baseline climatology": "Climatology: predicts the mean of all training maps, "
    "whatever the weather.",
    "help curve train": "The error on the sequences of each training step.",
    "help curve validation": "The error on the validation set: sequences that training never sees.",
    "scores": "Scores",
    "scores validation": "validation set (unseen sequences)",
    "scores sequence": "this sequence, mean of its frames",
    "scores none": "",
    "error mse": "Error (MSE)",
    "error rmse": "Error (RMSE)",
    "ssim": "SSIM",
    "skill": "Skill score",
    "psnr": "PSNR",
    "unseen": "Skill, nothing seen",
    "help error": "How far predicted values are from the true ones: the mean of the squares "
    "(MSE); 0 is perfect.",
    "digits help error": "How far predicted pixels are from the true ones: the squares (MSE), "
    "added up over a frame; 0 is perfect.",
    "storm help error": "How far predicted values are from the true ones: the root of the mean "
    "square (RMSE), in the map's unit; 0 is perfect.",
    "help ssim": "Structural similarity (SSIM): how alike the pictures look; 1 is perfect.",
    "help skill": "0 % is no better than repeating the last frame, 100 % is perfect.",
    "help psnr": "Peak signal-to-noise ratio (PSNR): how strong the picture is beside its "
    "error, in decibels; higher is better.",
    "help unseen": "The skill score of the sequences alone whose newest frame shows no square: it "
    "must be remembered. 0 % is no better than the better baseline, 100 % is perfect.",
    # The stage
    "stage title": "{n} frames seen, {m} predicted",
    "stage subtitle": "on data that training never sees",
    "rows": "frames, one row for each kind; places are in px from the left and from the top",
    "row input": "Input",
    "row truth": "Truth",
    "row prediction": "Prediction",
    "row error": "Error",
    "moment": "Moment",
    "moment ahead": "frames ahead: {n}",
    "moment last": "the last frame seen",
    "moment before": "seen, frames before the last: {n}",
    "seen": "seen",
    "close-up": "close-up",
    "help close-up": "Show 24 × 24 px around what moves; the whole frame stands beside it",
    "whole": "Whole frame",
    "whole label": "whole frame of the truth; the box marks the close-up",
    "brighten": "brighten ×10",
    "help brighten": "Show every picture ten times as bright: what looks black may be a faint haze",
    "brightened": "Brightened: every frame shown here is drawn ten times as bright as it is.",
    "model shown": "Network on show: {settings}.",
    "model others": "Train would use {settings}.",
    "model goes on": "The panel shows other settings ({settings}); this run goes on with its own.",
    "model more": "{n} more",
    "use model": "Use its settings",
    "help use model": "Set the panel to the settings of the network on show",
    "previous": "previous sample",
    "next": "next sample",
    "sample": "sample {n} of {of}",
    "your drawing": "your drawing",
    "animate": "animate",
    "dark frame": "all dark, brightest pixel {n}",
    "grey frame": "grey all over, brightest pixel {n}",
    "square at": "square at {x}, {y}",
    "patch at": "bright patch at {x}, {y}",
    "many patches": "bright patches: {n}",
    "blurred": "blurred, brightest pixel {n}",
    "lowest at": "lowest {n} at {x}, {y}",
    "highest at": "highest {n} at {x}, {y}",
    "no error": "no error",
    "largest error": "largest error {n}, {side}, at {x}, {y}",
    "help animate": "Play the sequence: what was seen, then truth and prediction",
    "under colour": "too dark",
    "over colour": "too bright",
    "under grey": "too dark",
    "over grey": "too bright",
    "under map": "too low",
    "over map": "too high",
    "full colour": "(full colour from {n})",
    "lead ssim": "SSIM by lead time",
    "lead error": "Error (RMSE) by lead time",
    "lead label": "chart of the score by lead time, beside the baselines",
    "lead axis": "frames ahead (lead time)",
    "draw title": "Draw a digit",
    "draw hint": "With mouse, finger, or arrows and space. The network sees the first frames "
    "and continues them.",
    "draw pad": "drawing area of 28 by 28 steps: arrows move the pen, space lowers or raises it",
    "pen up": "pen raised at {x}, {y}",
    "pen down": "pen lowered at {x}, {y}",
    "draw go": "Set it moving",
    "draw clear": "Clear",
    "direction": "Direction",
    # Lessons
    "lessons": "Lessons",
    "leave lesson": "Leave the lesson",
    "fold lesson": "fold this lesson up, or unfold it",
    "lesson title": "{n}. {title}",
    "lesson guess": "Guess",
    "lesson do": "Do",
    "lesson found": "Found",
    "lesson answers": "What did you see?",
    "lesson keep guess": "That is my guess",
    "lesson keep answers": "That is what I saw",
    "lesson guessed": "Your guess: {words}.",
    "lesson next": "Next lesson",
    "lesson last": "That was the last: leave the lesson",
    "lesson choice yes": "yes",
    "lesson choice no": "no",
    "lesson choice mse": "trained with MSE",
    "lesson choice ssim": "trained with SSIM",
    "lesson choice same": "at the same place and time as before",
    "lesson choice late": "too late, or at a wrong place",
    "lesson choice never": "nowhere",
    "lesson choice 1": "1 px",
    "lesson choice 2": "2 px",
    "lesson choice 3": "3 px",
    "lesson choice 4": "4 px",
    "lesson choice 6": "6 px",
    "place": "{x} across, {y} down",
    "place across": "across",
    "place down": "down",
    "none": "none",
    "lesson testing": "Testing",
    "lesson speed head": "Speed",
    "lesson errors head": "error / better baseline's",
    "lesson speed": "{speed} px/frame",
    "lesson errors": "{error} / {baseline}",
    "locked by link": "Locked by whoever made this link.",
    "link locks": "Whoever made this link has locked: {names}.",
    "locked by lesson": "Locked: lesson {n} changes only {names}, so that nothing else can make a "
    "difference.",
    "locked all": "Locked: lesson {n} looks at one network as it is.",
    "notice no such lesson": "This link names a lesson that does not exist: the lessons are 1 to "
    "6.",
    "notice answer first": "Answer every question first.",
    "notice no lesson": "This training belongs to no lesson, so there is nothing to answer.",
    "notice file in lesson": "A lesson has a network of its own. Leave the lesson to open a "
    "checkpoint.",
    "name lesson": "The lesson",
    "lesson kernel": "Kernel against speed",
    "lesson kernel why": "A ConvLSTM looks at each pixel's neighbourhood only: a kernel of 3 px "
    "lets information travel 1 px a frame in each layer. What all layers make together is the "
    "reach. The square moves 4 px a frame.",
    "lesson kernel ask learns": "Will this network learn to predict the square, if it trains long "
    "enough?",
    "lesson kernel ask reach": "How far must information travel a frame, at least, for a skill "
    "score over 80 % (100 % is perfect)?",
    "lesson kernel do": "Press Train and wait for the end. Then let information travel further: "
    "choose kernel 5 or 7 and a second layer (the line under them says how far it goes) and train "
    "again. Four layers of kernel 3 reach as far.",
    "lesson kernel step fails": "A training whose reach is too short came to its end",
    "lesson kernel step works": "A training with a reach of 4 px or more has a skill score over "
    "80 %",
    "lesson kernel found": "In each frame information moves (k−1)/2 px in every layer, and a "
    "square that is faster is out of sight. Longer training cannot replace reach.",
    "lesson kernel fact trained": "Kernel {kernel}, layers {layers}: {reach} px",
    "lesson kernel measured trained": "skill score {skill}",
    "lesson black": "The clever black frame",
    "lesson black why": "SSIM says how alike two pictures look: 1 is perfect. Imagine a predictor "
    "that has learnt nothing and answers every question with a black frame. The square is 5 px "
    "wide and the frame 64.",
    "lesson black ask ssim": "What SSIM does it get, from 0 to 1?",
    "lesson black do": "Look at “black frame” under SSIM. Then push it under 0.7: change the "
    "canvas and the square's size, and press Reset, which measures anew. Nothing has to be "
    "trained.",
    "lesson black step bright": "The black frame's SSIM is under 0.7",
    "lesson black found": "Where most of a picture is black, black is nearly right, and the score "
    "is high for nothing. A score means nothing without its baseline.",
    "lesson black fact black": "SSIM of the black frame",
    "lesson black measured black": "{ssim}",
    "lesson blur": "Blur",
    "lesson blur why": "This network is trained already, and predicts ten frames of two digits. "
    "It cannot know everything, and what training makes small (the loss) decides what it does "
    "where it is unsure: MSE punishes large errors, SSIM asks for pictures that look alike.",
    "lesson blur ask sharper": "Whose pictures are sharper?",
    "lesson blur ask lower": "Which has the lower error (MSE)?",
    "lesson blur do": "Press Train: the network goes on learning for a short while with MSE. Then "
    "choose SSIM under Training, more, Loss, and train again, from the same beginning. Look at "
    "the last frames of both.",
    "lesson blur step tuned mse": "Trained on with MSE",
    "lesson blur step tuned ssim": "Trained on with SSIM",
    "lesson blur step told": "Said which is sharper, and which has the lower error",
    "lesson blur found": "Where it is unsure, MSE makes it paint the average of all that may "
    "come, which is a blur. That errs least, and looks least like a digit.",
    "lesson blur fact trained": "{loss}: error {error}",
    "lesson blur measured trained": "{sharpness} as sharp as the truth",
    "lesson memory": "Behind the bar",
    "lesson memory why": "The square moves to the right at 1 px a frame, and passes behind a bar. "
    "While it is hidden, no frame shows it: the network must remember it in its memory c, and the "
    "forget gate says how much of c is kept.",
    "lesson memory ask out": "Once it is trained: where and when does the predicted square come "
    "out from behind the bar with the forget gate switched off?",
    "lesson memory do": "Press Train and wait for the end. Then press “Look inside” and click the "
    "letter f there, which switches the forget gate off, in all channels and at all times. "
    "Compare the predictions.",
    "lesson memory step trained": "A training came to its end",
    "lesson memory step off": "Without the forget gate the error is at least 3 times as high",
    "lesson memory found": "With the forget gate off the square is gone as soon as it is hidden. "
    "What is hidden survives only in c.",
    "lesson memory fact trained": "Trained",
    "lesson memory measured trained": "skill score {skill}",
    "lesson memory fact inside": "Error before / with the change",
    "lesson memory measured inside": "{before} / {after}",
    "lesson speeds": "Train slow, test fast",
    "lesson speeds why": "This network is trained already, on squares that move 1 or 2 px a "
    "frame. A person who has watched them could follow a slower or a faster square just as well.",
    "lesson speeds ask speeds": "Which speeds, in px a frame, can the network follow?",
    "lesson speeds do": "Test it at every speed. It follows a speed where its error is less than "
    "half of the better baseline's (black frame, or repeat last frame): mark those.",
    "lesson speeds button": "Test all speeds",
    "lesson speeds step tested": "Tested at every speed",
    "lesson speeds step marked": "Marked the speeds that it follows",
    "lesson speeds found": "It follows the speeds that it has seen, and no other, not even a "
    "square that stands still. It learnt these speeds, not motion.",
    "lesson walls": "The wall that teleports",
    "lesson walls why": "With the walls on wrap, a square that reaches the right or the lower "
    "side comes in again on the opposite one, as if teleported. What you see here is the last "
    "frame before the prediction.",
    "lesson walls ask place": "Where will the square be right after it has reached the wall? "
    "Click on the large frame, or give the place in px.",
    "lesson walls do": "Press Train, move “Moment” to t + 10, and watch the wall. Then let the "
    "square bounce: choose bounce under Walls, and train again.",
    "lesson walls step trained wrap": "Trained with walls that wrap",
    "lesson walls step trained bounce": "Trained with walls that bounce",
    "lesson walls step better": "At the wall, the error with bounce is at most a third of that "
    "with wrap",
    "lesson walls found": "The place where it comes in again is a whole canvas away, and a reach "
    "of 2 px a frame sees nothing of it. A square that bounces stays where the network looks.",
    "lesson walls fact trained": "Error at the wall, {walls}",
    "lesson walls measured trained": "{wall}",
    # Save and share
    "save and share": "Save and share",
    "get pictures": "Pictures (zip)",
    "help pictures": "The sequence beside its prediction, the charts, and an animated GIF.",
    "get losses": "Loss history (CSV)",
    "help losses": "Every step's loss and learning rate, and the validation scores.",
    "get script": "PyTorch script",
    "help script": "One file that trains a network with these settings anywhere, without this "
    "page.",
    "get checkpoint": "Checkpoint",
    "help checkpoint": "Weights, settings, history: everything needed to go on later.",
    "get onnx": "ONNX (zip)",
    "help onnx": "The network as it is now, for other programs; takes up to a minute, while "
    "training goes on.",
    "being made": "Being made…",
    "open checkpoint": "Open a checkpoint…",
    "help upload": "A .safetensors file saved here; it replaces the run on this page.",
    "link": "Link",
    "help link": "Opens this page with these settings.",
    "copy": "Copy",
    "copied": "Copied",
    # The speed test
    "speed test": "Speed test",
    "speed intro": "Which speeds can this network follow? It is shown new sequences in which "
    "everything moves at exactly 0, 1, 2 … 8 px a frame. This takes a few seconds, and a training "
    "under way goes on meanwhile.",
    "speed go": "Test this network",
    "speed again": "Test again",
    "speed running": "{n} %",
    "speed progress": "share of the test that is done",
    "speed asks": "Testing the network as it is after {n} training steps.",
    "speed asks shipped": "Testing the network that was trained earlier.",
    "speed done shipped": "Tested: the network that was trained earlier.",
    "speed done": "Tested: the network as it was after {n} training steps.",
    "speed stale": "It has learnt since then: test again to see what changed.",
    "study stop": "Stop the test",
    "study stopped": "The test was stopped before its end, so there is no result.",
    "study failed": "The test broke off with a fault, so there is no result. Test again; if it "
    "happens again, tell whoever runs this server.",
    "speed follows": "Better than both baselines at speeds: {speeds}. Trained at: {trained}.",
    "speed follows none": "At no speed better than both baselines. Trained at: {trained}.",
    "speed chart": "Error by speed",
    "speed chart label": "chart of the prediction error by speed, beside the baselines; the "
    "sentence above it says at which speeds it is better than they are",
    "speed lead": "which predicted frames count",
    "speed lead next": "next frame (t + 1)",
    "speed lead mean": "mean of {n} frames",
    "speed trained": "trained speeds",
    "speed reach": "reach {n} px a frame",
    "speed reach beyond": "reach {n} px a frame →",
    "speed axis": "speed (px a frame)",
    "speed look": "Show a sequence above, at speed:",
    "speed look at": "Show a sequence of speed {n} above",
    "speed sample": "speed {speed}: {n} of {of}",
    # One's own clip
    "clip title": "Your clip",
    "clip open": "Open a clip…",
    "help clip open": "A video, an animated GIF, WebP or PNG, or a NumPy array",
    "clip camera": "Camera…",
    "help clip camera": "Record ten seconds of what your camera sees",
    "clip record": "Record 10 s",
    "clip hint": "20 to 600 frames. Nobody else can fetch your clip, and it is deleted together "
    "with this training. A checkpoint that you save holds it.",
    "clip reading": "Reading frame {n} of {of}",
    "clip sending": "Sending your clip",
    "clip recording": "Recording: {n} s left",
    "go on": "go on",
    "help go on": "Let the network predict 50 frames that come after the end of your clip",
    "after the end": "after the end",
    "baseline mean_frame": "mean frame",
    "notice clip opened": "Your clip is open: {frames} frames. Its last {judged} frames are for "
    "judging, and training never sees them. Press Train.",
    "notice clip unlike": "Your clip is open, but its last {judged} frames, which are for judging, "
    "look unlike all the others, so good scores cannot be expected. A clip in which things come "
    "again teaches more.",
    "notice clip fitted": "Your clip is open: {frames} frames, of which the last {judged} are for "
    "judging. It is too short for your settings, so they are back at their first values. Press "
    "Train.",
    "notice clip video": "This browser cannot play this video. Try one in MP4 or WebM, or an "
    "animated GIF.",
    "notice clip short": "This video is too short: it must last at least 0.6 s.",
    "notice clip large": "This file is too large: a clip must be at most 64 MiB.",
    "notice no clip here": "Only the scene “Your clip” takes a clip.",
    "notice camera unsafe": "A browser lends its camera only to a page on this computer or at an "
    "address that begins with https.",
    "notice camera refused": "The camera was not allowed. Allow it in the browser's address bar "
    "and try again.",
    "notice no camera": "No camera could be opened. Is one there, and does no other program use "
    "it?",
    "name clip": "The clip",
    "leave speed": "back to the samples",
    "help leave speed": "Show the scene's own samples again",
    "speed heat": "SSIM minus the better baseline's",
    "speed heat label": "SSIM minus the better baseline's, by speed and lead time",
    "speed heat hint": "Blue and +: more like the truth than both baselines. Orange and −: less. "
    "Point at a field for its numbers; click it to see such a sequence.",
    "speed corner": "speed",
    "speed cell": "Speed {speed}, {when}: SSIM {ssim}, {name} {best}. Difference {gain}.",
    # Pinned runs
    "compare runs": "Compare runs",
    "pin": "Pin this run",
    "pin hint": "Keeps this run as it is now, with its network, curve and scores; three runs can "
    "be kept. Then change a setting, train again, and see here what it changed.",
    "pins full": "Three runs are pinned, and no more can be: unpin one first.",
    "get comparison": "All as CSV",
    "help comparison": "Curves, scores and settings of this run and of the pinned ones.",
    "pin name": "Run {letter}",
    "pin this run": "This run",
    "pin run": "Run",
    "pin error": "Error",
    "pin steps": "Steps",
    "pin settings": "Differs in:",
    "pin same": "The same settings in all.",
    "pin scores": "Scores, each on its own validation set, beside its better baseline",
    "pin unscored": "no score yet",
    "pin shipped": "trained earlier",
    "pin use": "Use these settings",
    "unpin": "Unpin",
    "unpin name": "Unpin: {name}",
    "pin curves label": "chart of the validation errors of the runs over their steps; the table "
    "beside it has the scores",
    "pin no curve": "None of these runs has a curve yet",
    "pin step axis": "step {n}",
    "pin predictions": "What each predicts",
    "pin predictions hint": "of the sequence shown above, with its SSIM",
    "pin waits": "being predicted …",
    "pin other": "This network reads another variable, so it cannot continue this sequence.",
    "setting on": "on",
    "setting off": "off",
    "name pins": "Pinned runs",
    "name number": "The number",
    # A class
    "name student": "Your name",
    "help name student": "Your teacher sees it beside your training; leave it empty to be a "
    "number.",
    "student": "Student {n}",
    "following": "You are looking at your teacher's training. Yours goes on behind it.",
    "class": "Class",
    "help class": "Who trains what, how far, and how well",
    "follow me": "Follow me",
    "help follow me": "While this is on, every student's page shows your training, live",
    "help follow me on": "“Follow me” is on: every student's page shows your training.",
    "board title": "The class",
    "board counts": "{here} here · {training} training · {done} done",
    "board address": "Students open {address}",
    "board empty": "Nobody is here yet. A row appears as soon as a student opens the page.",
    "board student": "Student",
    "board trains": "Trains",
    "board state": "State",
    "board progress": "Progress",
    "board best": "Lowest error, and the better baseline",
    "help board best": "The lowest error on the validation set so far, beside that of the "
    "better baseline. Green, with a ✓, where it is lower.",
    "board curve": "Curve",
    "help board curve": "How the error on the validation set fell over the run; the dashes are the "
    "better baseline.",
    "board left": "left · {state}",
    "help board left": "This page is closed. The row shows how it was last.",
    "short state connecting": "getting ready",
    "short state idle": "ready",
    "short state waiting": "waiting, place {place}",
    "short state paused": "paused",
    "short state stopped": "stopped",
    "short state goal": "reached its goal",
    "short state finished": "finished",
    "short state diverged": "diverged",
    "short state patience": "ended, no longer better",
    "short state shipped": "has not trained yet",
    # Inside the cell
    "look inside": "Look inside",
    "help look inside": "See what the network remembers, and switch parts of it off.",
    "inside title": "Inside the cell",
    "inside seen": "after it has seen the frame at {moment}",
    "inside predicted": "after it has read its own prediction at {moment}",
    "inside hint": "Each row is one channel, each column one part of the cell: a gate, the new "
    "content, the memory or the state. Click a pixel to see its arithmetic and how far it sees.",
    "inside cells": "which layer",
    "inside switches": "the cell: its letters switch its parts off and on",
    "inside switches hint": "Click a letter to switch that part off in every channel of this "
    "layer, and watch the prediction below.",
    "inside close": "close “Inside the cell”",
    "inside unread": "This layer reads nothing at this moment.",
    "cell layer": "Layer {n}",
    "cell encoder": "Encoder {n}",
    "cell forecaster": "Forecaster {n}",
    "channels shown": "Channels {from} to {to} of {of}",
    "channel shown": "Channel {from} of {of}",
    "channels back": "channels before",
    "channels on": "further channels",
    "channel": "channel {n}",
    "every channel": "every channel",
    "channel off": "switch off",
    "channel back": "switch on again",
    "part i": "input gate",
    "part f": "forget gate",
    "part g": "new content",
    "part o": "output gate",
    "part c": "memory",
    "part h": "state",
    "map label": "map of {part}, channel {channel}; arrow keys choose a pixel",
    "bar memory": "The colour of c follows tanh c, which is what the output gate lets out.",
    "pixel hint": "Click a pixel of a map to see here how its value comes about.",
    "pixel where": "Channel {channel}, row {row}, column {column}:",
    "pixel sums": "What the input x (the frame, or the layer below), the state h before and the "
    "bias (a constant) give is added up; σ, for g tanh, squeezes the sum into the value. A part "
    "that is switched off has the value 0.",
    "term frame": "x",
    "term h": "h",
    "term bias": "bias",
    "term peephole": "peephole",
    "term value": "value",
    "field words": "The yellow squares over the input show what this pixel can know of: {radius} "
    "px around it in the frame just read, {hop} px more in each frame before.",
    "outside reach": "The next frame shows something {moves} px away from where anything is now, "
    "but information travels only {reach} px a frame: this network cannot know it, however long it "
    "trains.",
    "try title": "What happens without it?",
    "try hint": "Switch a part off, hold it as it is at the moment shown, or let two channels "
    "change places.",
    "try part": "part",
    "try channel": "channel",
    "try how": "what to do with it",
    "try other": "the other channel",
    "try add": "Try it",
    "how off": "switched off",
    "how hold": "held from now on",
    "how swap": "swapped with",
    "change off": "{what}: off",
    "change hold": "{what}: held from {moment}",
    "change swap": "{what}: swapped with channel {other}",
    "change remove": "undo: {what}",
    "switch label": "switch off {part}, the {name}",
    "transplant title": "Another memory",
    "transplant hint": "Just before its newest frame, the network gets what it would remember of "
    "another sequence. Where will it draw the square next? Guess first.",
    "digits transplant hint": "Just before its newest frame, the network gets what it would "
    "remember of another sequence. Which digits will it draw next? Guess first.",
    "storm transplant hint": "Just before its newest map, the network gets what it would remember "
    "of another time. Which weather will it draw next? Guess first.",
    "transplant from": "whose memory",
    "transplant guess": "your guess",
    "transplant go": "Transplant it",
    "guess none": "Your guess …",
    "guess own": "as its own frames say",
    "guess other": "as the other sequence says",
    "guess nothing": "nothing at all",
    "your guess": "Your guess: {guess}.",
    "transplant own": "Found: it goes by its own newest frame. That frame says where, and the "
    "memory at most where to.",
    "storm transplant own": "Found: it goes by its own newest map, and not by the other's memory.",
    "transplant other": "Found: it goes by the other's memory.",
    "transplant neither": "Found: it follows neither; the foreign memory spoils its prediction.",
    "transplant errors": "Its error against its own next frame is {own}, against the other's "
    "{other}; with no memory at all {nothing}.",
    "rank title": "Which channels matter?",
    "rank hint": "Each channel is switched off in turn, its memory and its state, and the "
    "validation error is taken without it. Some are hardly missed.",
    "rank go": "Switch off each in turn",
    "rank stop": "Stop",
    "rank running": "{share} done",
    "rank done": "The error without each channel, over {n} validation sequences. Channels shown: "
    "{shown} of {of}, the most missed first.",
    "rank done before": "The error without each channel, over {n} validation sequences. Channels "
    "shown: {shown} of {of}, the most missed first. The network has learnt on since.",
    "rank stopped": "Stopped.",
    "rank failed": "Something went wrong on the server. Try again.",
    "name experiment": "What is changed",
    "name cell": "Layer",
    "name channel": "Channel",
    "name row": "Row",
    "name column": "Column",
    "rank whole": "with all channels",
    "compared title": "Error by lead time",
    "compared label": "chart of the error by lead time, without and with the change",
    "compared truth": "Truth",
    "compared without": "As it is",
    "compared with": "With the change",
    # How it works
    "how it works": "How it works",
    "how cell": "The cell",
    "how cell text": "A ConvLSTM reads a sequence frame by frame and carries a memory c and a "
    "state h along; gates between 0 and 1 say how much is written, kept and shown. It is an LSTM "
    "(long short-term memory) whose every product with a matrix is a convolution (∗), so that the "
    "memory is a set of pictures and what is learnt in one corner holds everywhere. ⊙ multiplies "
    "pixel by pixel, σ squeezes into (0, 1), tanh into (−1, 1).",
    "how drawing": "drawing of the cell: frame x and state h go through one convolution, which "
    "gives input gate, forget gate, output gate and new content; these update the memory c "
    "and the state h",
    "eq input": "input gate: how much to write",
    "eq forget": "forget gate: how much to keep",
    "eq candidate": "the new content (candidate)",
    "eq output": "output gate: how much to show",
    "eq memory": "the memory: what is kept and what is written",
    "eq state": "the state, read by a 1×1 convolution as the next frame",
    "how article": "The ConvLSTM was introduced in this article, to forecast rain:",
    "digits eq state": "the state; a 1×1 convolution reads from it where the last frame's patches "
    "go, or, with the output sigmoid, the next frame's patches themselves",
    "how reach": "A kernel of k px passes information (k − 1) / 2 px in each layer and frame. "
    "What moves faster than that cannot be followed, however long one trains.",
    "digits how reach": "Here a cell sees patches of pixels: with patches of 8 px, 3×3 kernels and "
    "three layers, information travels 24 px a frame, further than any digit moves.",
    "storm how reach": "A kernel of k px passes information (k − 1) / 2 px in each layer and "
    "frame. A storm crosses several px between two frames, so the layers together must reach as "
    "far.",
    "how honest": "Frames are mostly black, so even a black frame has a low error and a high "
    "SSIM. That is why every score here stands beside those of baselines, predictions that "
    "learn nothing, on sequences that training never sees.",
    "how training": "A training step shows the network one batch of sequences, compares its "
    "predictions with the truth, and changes its weights a little; an epoch is one or more "
    "such steps. Every few steps the network is scored on the validation set: sequences that "
    "training never sees.",
    "squares how honest": "Frames are mostly black: with one square of 5 px on 64 px, a black "
    "frame already has an SSIM of 0.97. That is why every score here stands beside those of "
    "two baselines that learn nothing, a black frame and repeating the last frame, on "
    "sequences that training never sees.",
    "digits how honest": "Frames are mostly black: with two digits on 64 px, a black frame "
    "already has an SSIM of 0.77. That is why every score here stands beside those of two "
    "baselines that learn nothing, a black frame and repeating the last frame, on digits that "
    "training never sees.",
    "storm how honest": "Weather changes slowly: for a few hours, repeating the last map is a "
    "good forecast, and after some days the mean of all training maps (climatology) is hard "
    "to beat. That is why every score here stands beside those of these two baselines, on "
    "days that training never sees.",
    "own how honest": "In most clips little changes from one frame to the next, so repeating the "
    "last frame has a low error already. That is why every score here stands beside those of two "
    "baselines that learn nothing, repeating the last frame and the mean of all training frames, "
    "on the last fifth of the clip, which training never sees.",
    "how scores": "Error: the mean squared difference between predicted and true values (MSE). "
    "SSIM (structural similarity): how alike the pictures look, 1 at best. Skill score: 0 % "
    "is no better than repeating the last frame, 100 % is perfect. PSNR: how strong the "
    "picture is beside its error. Green, with a ✓, only where the network beats both "
    "baselines.",
    "digits how scores": "Error: the squared difference between predicted and true pixels "
    "(MSE), added up over a frame as in published tables. SSIM (structural similarity): how "
    "alike the pictures look, 1 at best. Skill score: 0 % is no better than repeating the "
    "last frame, 100 % is perfect. PSNR: how strong the picture is beside its error. Green, "
    "with a ✓, only where the network beats both baselines.",
    "storm how scores": "Error: the root of the mean squared difference between predicted and "
    "true values (RMSE), in the map's unit. SSIM (structural similarity): how alike the maps "
    "look, 1 at best. Skill score: 0 % is no better than repeating the last map, 100 % is "
    "perfect. PSNR: how strong the map is beside its error. Green, with a ✓, only where the "
    "network beats both baselines.",
    "how controls": "The controls",
    "how keys": "Keys: space trains or pauses, s steps, r resets, ← and → change the sample, Esc "
    "leaves the projector view.",
    "letters": "The letters s and r act as keys.",
    # Notices
    "refused": "{name} is {value}: {rule}.",
    "notice reset": "Changed: {names}. The run under way cannot take that on.",
    "offer restart": "Restart with it",
    "offer undo-settings": "Undo",
    "notice thrown": "The old training was thrown away. It can be brought back until the next one "
    "takes its place.",
    "offer undo-reset": "Undo",
    "notice nothing to undo": "There is no training to bring back any more.",
    "notice unknown": "This link names what is no setting here: {text}. Its other settings were "
    "taken.",
    "notice resumed": "The part of the server that computes had to be started again. Your run goes "
    "on from where it was a few seconds before.",
    "notice no gpu": "No GPU is to be had just now, so your run goes on on the processor; to ask "
    "for one again, pause it and press Continue.",
    "notice busy": "The server has too much to do just now. Try again in a moment.",
    "notice broken": "The server could not do that. Try again; if it happens again, tell whoever "
    "runs this server.",
    "notice restarted": "The server was restarted or your run expired, so this is a new one.",
    "notice lost": "This run is gone; the page opens a new one.",
    "notice full": "This server is full: all of its runs are in use. Try again in a few minutes.",
    "notice offline": "The server does not answer. The page keeps trying; your run goes on there.",
    "notice checkpoint": "The checkpoint was refused, nothing was changed. {text}",
    "notice opened": "Checkpoint opened, with its settings.",
    "notice too large": "The file could not be sent: it is larger than 256 MiB, the connection "
    "broke, or too many files are being sent at the moment. Try again in a minute.",
    "notice no onnx": "This server cannot write ONNX: the package onnxscript is not installed. "
    "Take the checkpoint instead: the command export makes ONNX of it.",
    "notice onnx slow": "The ONNX file took too long. Try again when fewer people train.",
    "notice no picture": "There is no picture yet. Try again in a second.",
    "notice draw first": "There is nothing to continue yet: draw a digit first.",
    "notice action": "The server did not understand this: {text}",
    "notice not the teacher": "This is not the address of this class's teacher: the page opens as "
    "for a student.",
    "notice class full": "This class is full: you can train, but your teacher does not see it.",
    "notice file of squares": "This file is of “Moving squares”: change to that scene, and open it "
    "there.",
    "notice file of digits": "This file is of “Moving MNIST”: change to that scene, and open it "
    "there.",
    "notice file of storm": "This file is of “The blizzard of 1996”: change to that scene, and "
    "open it there.",
    "notice file of own": "This file is of “Your clip”: change to that scene, and open it there.",
    # Presets
    "preset own-clip": "Your clip",
    "sentence own-clip": "Learns to predict the next frames of a clip that you bring. Until then, "
    "a pendulum swings here.",
    "preset quick": "Quick start",
    "sentence quick": "Learns in seconds. The kernel reaches 2 px, just as far as the square "
    "moves. Try kernel 3: what breaks?",
    "preset article": "A plain recipe",
    "sentence article": "One 3x3 layer, MSE on the predicted frame alone, a constant learning "
    "rate: after 100 epochs its SSIM is still worse than a black frame's.",
    "preset too-fast": "Too fast for its kernel",
    "sentence too-fast": "Fails: the square moves up to 4 px a frame, a 3x3 kernel passes on 1 px. "
    "Raise the kernel to 7 with 2 layers and train again.",
    "preset behind-the-bar": "Behind the bar",
    "sentence behind-the-bar": "A grey bar hides the square from the network, not from the truth. "
    "Only what it remembers says where the square is, and when it comes out.",
    "preset deep": "Deep and slow",
    "sentence deep": "Three layers with residual connections: sharper in the end, but each "
    "step takes far longer.",
    "preset one-digit": "One digit",
    "sentence one-digit": "One digit that bounces. The network moves the last frame on. After "
    "450 epochs one can make it out.",
    "preset two-digits": "Two digits",
    "sentence two-digits": "The two digits of the Moving MNIST benchmark, which pass over each "
    "other. The next frame is good in minutes; ten frames ahead takes hours.",
    "preset states-only": "On the states alone",
    "sentence states-only": "After ten frames it reads nothing any more, not even its own "
    "prediction: all that it needs must be in the memory c and the state h.",
    "preset blizzard": "Six hours ahead",
    "sentence blizzard": "Pressure, temperature and wind over North America, a map every six "
    "hours. In half a minute it is better than repeating the last map.",
    "preset blizzard-day": "A day ahead",
    "sentence blizzard-day": "Learns on its own predictions, four maps ahead. A day ahead the "
    "mean map (climatology) is hard to beat.",
    "preset blizzard-pressure": "Pressure alone",
    "sentence blizzard-pressure": "Sees no wind and no temperature. Is the next pressure map "
    "worse?",
    "preset moving-mnist-compact": "Moving MNIST, compact",
    "sentence moving-mnist-compact": "Ten frames from ten, by moving patches of 8 px: small enough "
    "to learn on a CPU.",
    "preset moving-mnist-article": "Moving MNIST, multi-scale",
    "sentence moving-mnist-article": "Three scales down and up again, with attention, a "
    "curriculum and a loss of MSE and SSIM. For a GPU.",
    "preset moving-mnist-openstl": "Moving MNIST, at OpenSTL's size",
    "sentence moving-mnist-openstl": "Four layers of 128 channels, 5x5, on patches of 4 px: "
    "the ConvLSTM of OpenSTL's tables, computed correctly. For a GPU.",
    # The page formats no numbers inside rules, so {low:g} becomes {low}.
    **{f"rule {key}": rule.replace(":g}", "}") for key, rule in RULES.items()},
    # And it has its own names for settings and their values.
    "rule mapping": "must be a set of settings",
    "rule alone": "must be the only change",
    "rule experiment": "must be at most {high} changes at once",
    "rule needs multiscale": "works only with the multi-scale architecture",
    "rule needs next frames": "works only with the stack architecture, which predicts every next "
    "frame",
    "rule needs feedback": "works only with the closed-loop rollout",
    "rule needs layers": "needs two layers or more",
    "rule sigmoid": "works only with the sigmoid or the transport output",
}
