// Every text that can be seen on the page, and every line of a chart, with the contrast
// of its colour to what lies behind it, where that is below what WCAG AA asks for.
() => {
    const parse = (text) => {
        const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
        return {r, g, b, a};
    };
    const over = (front, back) => {
        const mix = (key) => front[key] * front.a + back[key] * (1 - front.a);
        return {r: mix("r"), g: mix("g"), b: mix("b"), a: 1};
    };
    const luminance = ({r, g, b}) => {
        const [x, y, z] = [r, g, b].map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const contrast = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
    const chain = (element) => {
        const found = [];
        for (let at = element; at !== null; at = at.parentElement) {
            found.push(getComputedStyle(at));
        }
        return found;
    };
    const behind = (styles) => {
        const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? 18 : 255;
        return styles
            .map((style) => parse(style.backgroundColor))
            .reverse()
            .reduce((back, front) => over(front, back), {
                r: canvas, g: canvas, b: canvas, a: 1,
            });
    };
    const weak = [];
    const look = (element, property, least, what) => {
        const styles = chain(element);
        const back = behind(styles);
        const opacity = styles.reduce((all, style) => all * Number(style.opacity), 1);
        const colour = parse(styles[0][property]);
        const front = over({...colour, a: colour.a * opacity}, back);
        const ratio = contrast(front, back);
        if (ratio < least) {
            weak.push(`${what}: ${ratio.toFixed(2)}`);
        }
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        const isSeen = element.checkVisibility({visibilityProperty: true});
        if (text !== "" && isSeen && element.getClientRects().length > 0) {
            const style = getComputedStyle(element);
            const size = parseFloat(style.fontSize);
            const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
            const property = element instanceof SVGElement ? "fill" : "color";
            look(element, property, isLarge ? 3 : 4.5, text.slice(0, 40));
        }
    }
    for (const line of document.querySelectorAll("polyline:not(.combat-grid)")) {
        look(line, "stroke", 3, `line ${line.getAttribute("class")}`);
    }
    return [...new Set(weak)];
}
