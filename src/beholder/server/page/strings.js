// Every sentence of the page in English and in Simplified Chinese. {placeholders} are the same in both; KEY_one is said where n is 1.

export const STRINGS = {
  en: {
    skip: "Skip to choosing pictures", model: "Model", other: "中文", pictures: "Pictures", comma: ", ", percent: "{x}\u00a0%",
    knows: "{n} classes: {names}", knows_one: "1 class: {names}", knows_multi: "{n} classes, any number of them in a picture: {names}", others: " and {n} more",
    again: "Try again", door: "This server asks for a key", enter: "Use this key", wrong_key: "The server did not take this key.",
    title: "Show it a picture", ways: "Drop pictures here, paste one, or", choose: "Choose pictures", photograph: "Take a photo",
    private: "Your pictures go to the server that gave you this page, and nowhere else.", veil: "Drop them to classify them",
    brief: "Arrow keys move between pictures. H shows where it looked. Delete removes a picture.",
    told: "{done} of {n} pictures answered", told_one: "{done} of 1 picture answered", told_failed: ", {failed} could not be", stop: "Stop", save: "Save answers (CSV)", clear: "Remove all",
    waiting: "waiting", asking: "predicting …", stopped: "stopped", failed: "no answer", slowly: "The server is slow: {seconds} s so far.",
    none: "none of them", is: "Most likely “{label}”: {p}.", holds: "Predicted: {names}.", holds_none: "No class is predicted.",
    tell_unsure: "Not sure", unsure: "The model abstains: on pictures like this it is wrong too often. Its prediction would be “{label}”.",
    tell_ood: "Out of distribution", ood: "This picture is unlike the training pictures, so the prediction may mean nothing. {share} of the validation pictures have a lower OOD score.",
    tell_positive: "Found", positive: "The probability is above this model’s operating point.",
    tell_failed: "No answer", place: "Picture {at} of {n}: {name}",
    set: "Prediction set: {names}.", set_empty: "The prediction set is empty: no class is likely enough.", more: "Show all {n}", fewer: "Show fewer",
    heat: "Where did it look?", heat_hide: "Hide where it looked", heat_wait: "Finding where it looked …", heat_alt: "Where it looked: what speaks for “{label}” is warm", no_heat: "This server cannot show where it looked.",
    heat_busy: "The server is busy. Ask again in a moment.", heat_empty: "Nothing in the picture speaks for “{label}”.", heat_doubtful: "Do not trust this map: with its warmest {share} covered the probability is {p}, with as much covered elsewhere {elsewhere}.",
    near: "Nearest training pictures", alike: "{share} alike", no_preview: "This browser cannot show this file.",
    facts: "{model} · {seconds} ms (queue {queue}, decode {decode}, inference {infer}) · {size} kB",
    live: "{name}: {label}, {p}.", live_failed: "{name}: {why}",
    gone: "The server cannot be reached. Your pictures are kept here, and it is asked again by itself.", busy: "The server is busy. Trying again in {seconds} s.",
    late: "No answer within {seconds} seconds.", broke: "The server broke off twice: perhaps the picture is too large for it.", odd: "The server answered with something that this page does not understand ({status}).",
    "too-large": "The picture is too large for this server.", nothing_new: "There was no file in that.", too_many: "Only the first {most} of {n} pictures were taken.",
    turn: "Other camera", take: "Take it", cancel: "Cancel", camera_name: "photo {n}",
    no_camera: "No camera was found. Choose a picture instead.", no_leave: "The browser was not allowed to use the camera. Allow it in the address bar, or choose a picture.", camera_fails: "The camera cannot be used now: perhaps another program holds it.",
    knows_boxes: "Finds {n} classes, each with its place: {names}", knows_boxes_one: "Finds 1 class, with its place: {names}", times: "{count}\u00a0×\u00a0{label}", nothing_found: "Nothing found", boxes: "Boxes",
    boxes_n: "{n} boxes", boxes_n_one: "1 box", boxes_said: "{n} boxes are shown. Choose one of the list to make it stand out.", boxes_said_one: "1 box is shown.", live_boxes: "{name}: {found}.",
    least: "Least probability", own: "Each class its own", own_said: "each class its own",
    column_left: "left", column_top: "top", column_right: "right", column_bottom: "bottom",
    column_name: "picture", column_label: "label", column_p: "p", column_unsure: "not sure", column_ood: "out of distribution", column_error: "error",
  },
  zh: {
    skip: "跳到选择图片", model: "模型", other: "English", pictures: "图片", comma: "、", percent: "{x}%",
    knows: "{n} 个类别：{names}", knows_one: "1 个类别：{names}", knows_multi: "{n} 个类别，一张图片可属于多个：{names}", others: "等，另有 {n} 类",
    again: "重试", door: "此服务器需要密钥", enter: "使用此密钥", wrong_key: "服务器不接受此密钥。",
    title: "给它看一张图片", ways: "把图片拖到这里、粘贴一张，或者", choose: "选择图片", photograph: "拍照",
    private: "您的图片只会发送到提供本页面的服务器，不会去别处。", veil: "松开即可分类",
    brief: "用方向键在图片之间移动。按 H 显示它看了哪里。按 Delete 移除图片。",
    told: "{n} 张图片中已回答 {done} 张", told_one: "1 张图片中已回答 {done} 张", told_failed: "，{failed} 张无法回答", stop: "停止", save: "保存结果（CSV）", clear: "全部移除",
    waiting: "等待中", asking: "预测中……", stopped: "已停止", failed: "没有结果", slowly: "服务器较慢：已等待 {seconds} 秒。",
    none: "都不是", is: "最可能是“{label}”：{p}。", holds: "预测结果：{names}。", holds_none: "没有预测出任何类别。",
    tell_unsure: "不确定", unsure: "模型弃权：对这样的图片它出错太多。它的预测本来是“{label}”。",
    tell_ood: "分布外", ood: "这张图片与训练图片不像，预测可能毫无意义。{share} 的验证图片的分布外（OOD）得分比它低。",
    tell_positive: "已发现", positive: "概率高于此模型的工作点。",
    tell_failed: "没有结果", place: "第 {at} 张，共 {n} 张：{name}",
    set: "预测集：{names}。", set_empty: "预测集为空：没有一个类别足够可能。", more: "显示全部 {n} 项", fewer: "收起",
    heat: "它看了哪里？", heat_hide: "隐藏它看了哪里", heat_wait: "正在找出它看了哪里……", heat_alt: "它看了哪里：支持“{label}”的部分显示为暖色", no_heat: "此服务器无法显示它看了哪里。",
    heat_busy: "服务器繁忙，请稍后再试。", heat_empty: "图片中没有支持“{label}”的内容。", heat_doubtful: "不要相信这张热图：遮住其中最暖的 {share} 时概率为 {p}，在别处遮住同样大小时为 {elsewhere}。",
    near: "最相近的训练图片", alike: "相似 {share}", no_preview: "浏览器无法显示此文件。",
    facts: "{model} · {seconds} 毫秒（排队 {queue}，解码 {decode}，推理 {infer}）· {size} kB",
    live: "{name}：{label}，{p}。", live_failed: "{name}：{why}",
    gone: "无法连接服务器。您的图片保留在这里，页面会自动重新请求。", busy: "服务器繁忙。{seconds} 秒后重试。",
    late: "{seconds} 秒内没有回答。", broke: "服务器两次中断了传输：图片也许太大。", odd: "服务器的回答本页面无法理解（{status}）。",
    "too-large": "图片对此服务器来说太大。", nothing_new: "其中没有文件。", too_many: "{n} 张图片中只取了前 {most} 张。",
    turn: "换一个摄像头", take: "拍摄", cancel: "取消", camera_name: "照片 {n}",
    no_camera: "没有找到摄像头。请改为选择图片。", no_leave: "浏览器没有获得使用摄像头的许可。请在地址栏中允许，或选择图片。", camera_fails: "现在无法使用摄像头：也许被其他程序占用。",
    knows_boxes: "可找出 {n} 个类别及其位置：{names}", knows_boxes_one: "可找出 1 个类别及其位置：{names}", times: "{count} 个{label}", nothing_found: "没有找到任何物体", boxes: "框",
    boxes_n: "{n} 个框", boxes_n_one: "1 个框", boxes_said: "显示了 {n} 个框。在列表中选择一个可突出显示。", boxes_said_one: "显示了 1 个框。", live_boxes: "{name}：{found}。",
    least: "最低概率", own: "各类别用自己的", own_said: "各类别用自己的",
    column_left: "左", column_top: "上", column_right: "右", column_bottom: "下", "finds-boxes": "这个模型只给出框，没有热图。", "no-box": "这张图片里没有这个框。",
    column_name: "图片", column_label: "标签", column_p: "p", column_unsure: "不确定", column_ood: "分布外", column_error: "错误",
    empty: "文件是空的。", "not-a-picture": "这不是图片文件。", truncated: "图片不完整：文件提前结束。", damaged: "图片已损坏。",
    "too-many-bytes": "文件太大。", "too-many-pixels": "图片的像素太多。", "not-finite": "图片含有无效的数值。", "out-of-range": "图片的数值范围与训练图片不同。", "bad-array": "图片数据的类型不受支持。",
    "needs-extra": "服务器没有安装读取这种格式的组件。", "no-decoder": "服务器无法解码这种格式。", "no-pixels": "文件里没有图像。",
    crashed: "这张图片使解码器崩溃。", "out-of-memory": "打开这张图片需要太多内存。", "too-slow": "打开这张图片花的时间太长。", unreadable: "图片无法读取。",
    "too-many-members": "文件里的图像太多。", "path-missing": "文件无法打开。", "cannot-start": "服务器无法启动读取图片的程序。", interrupted: "读取被中断。",
    key: "此服务器需要密钥。", internal: "服务器内部出错，请查看它的日志。", "no-answer": "服务器没有及时回答。", refused: "服务器拒绝了请求。",
    "unknown-model": "服务器没有这个模型。请重新载入本页面。", "unknown-version": "模型没有这个版本。", "unknown-class": "模型没有这个类别。",
    "needs-torch": "热图需要以 torch 运行的网络，而它在用另一种引擎。", "no-index": "服务器没有得到训练图片。", "no-map": "这种网络没有可显示的热图。", "no-attention": "这种网络没有注意力层。",
    "wrong-host": "服务器不接受这个地址。启动它时请用 --allow-host 允许该名称。", "wrong-origin": "服务器不接受来自这个网页的请求。启动它时请用 --allow-origin 允许。",
    "no-pictures": "请求里没有图片。", "one-picture": "一次只能用一张图片。", "bad-form": "服务器读不懂这个表单。", "bad-request": "服务器读不懂这个请求。", "bad-parameter": "请求的参数有误。",
    "incomplete-body": "图片没有传完，连接就断开了。", "too-slow-body": "图片上传得太慢。", "encoded-body": "服务器不接受压缩过的请求。", "headers-too-large": "请求的标头太长。", "header-twice": "请求的标头重复了。",
    "no-such-path": "服务器没有这个地址。", "wrong-method": "服务器不接受这种请求。",
  },
};

let language = "en";

export const current = () => language;

// Take the language: "zh…" is Chinese, anything else English.
export function speak(wanted) { language = /^zh\b/i.test(wanted) ? "zh" : "en"; }

export const known = key => key in STRINGS[language];

// The sentence of a key with its facts filled in.
export function say(key, facts = {}) {
  const table = STRINGS[language];
  const text = facts.n === 1 && table[`${key}_one`] || table[key] || STRINGS.en[key];
  return text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

// A probability in words: never 100 % and never 0 %, which nobody can know.
export function share(p) {
  const x = p > 0.999 ? "> 99.9" : p < 0.001 ? "< 0.1" : (100 * p).toFixed(1);
  return say("percent", { x });
}
