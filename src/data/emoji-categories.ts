/**
 * Which category an emoji belongs to, and which emoji are variants of one another. Rules over CLDR short names and
 * Unicode's emoji groups; knows nothing of icon files.
 *
 * Unicode's nine groups are too mixed to be picture classes ("Symbols" holds zodiac signs, keycaps and arrows;
 * "Travel & Places" holds clock faces and the moon), so some are split further.
 */

/** Categories that look like something, in the order of Unicode's groups: the default. */
export const PICTURE_CATEGORIES = Object.freeze([
  "faces",
  "hearts",
  "people",
  "body",
  "animals",
  "plants",
  "food",
  "vehicles",
  "places",
  "sky",
  "activities",
  "objects",
] as const);

/** Signs: better left out of a picture model. */
export const SIGN_CATEGORIES = Object.freeze([
  "clocks",
  "arrows",
  "letters",
  "zodiac",
  "shapes",
  "symbols",
  "flags",
] as const);

export const EMOJI_CATEGORIES = Object.freeze([...PICTURE_CATEGORIES, ...SIGN_CATEGORIES]);

export type EmojiCategory = (typeof EMOJI_CATEGORIES)[number];

const words = (text: string): RegExp => new RegExp(`^(${text.trim().split(/\s+/).join("|")})$`);

const HEART = /heart/;
const MARK =
  /^(anger-symbol|collision|dashing-away|dizzy|fight-cloud|hole|hundred-points|kiss-mark|sweat-droplets|zzz)$|balloon$|bubble$/;
const ANIMAL_FACE = /cat(-|$)|monkey/;
const HAND =
  /hands?(-|$)|fist|thumb|finger|^(handshake|love-you-gesture|nail-polish|palms-up-together|selfie|sign-of-the-horns|vulcan-salute)$|pointing|^flexed-biceps$/;
const BODY =
  words(`anatomical-heart biting-lip bone brain ear ear-with-hearing-aid eye eyes foot leg lungs
  mechanical-arm mechanical-leg mouth nose tongue tooth`);
const SILHOUETTE = words(
  "bust-in-silhouette busts-in-silhouette fingerprint footprints speaking-head",
);
const PERSON = /^(man|woman|men|women|person|people)(-|$)|holding-hands$/;
const PLANT = words(`blossom bouquet cactus cherry-blossom deciduous-tree evergreen-tree fallen-leaf
  four-leaf-clover herb hibiscus hyacinth leaf-fluttering-in-wind leafless-tree lotus maple-leaf mushroom palm-tree
  potted-plant rose rosette seedling shamrock sheaf-of-rice sunflower tulip white-flower wilted-flower`);
const TRACE = words(
  "feather microbe paw-prints spider-web wing empty-nest nest-with-eggs spiral-shell coral",
);
const VEHICLE =
  words(`aerial-tramway airplane airplane-arrival airplane-departure ambulance articulated-lorry
  auto-rickshaw automobile bicycle bullet-train bus canoe delivery-truck ferry fire-engine flying-saucer helicopter
  high-speed-train kick-scooter light-rail locomotive manual-wheelchair metro minibus monorail motor-boat
  motor-scooter motorcycle motorized-wheelchair mountain-cableway mountain-railway oncoming-automobile oncoming-bus
  oncoming-police-car oncoming-taxi parachute passenger-ship pickup-truck police-car racing-car railway-car rocket
  roller-skate sailboat satellite ship skateboard small-airplane speedboat sport-utility-vehicle suspension-railway
  taxi tractor train tram tram-car trolleybus`);
const SKY =
  words(`cloud cloud-with-lightning cloud-with-lightning-and-rain cloud-with-rain cloud-with-snow comet
  crescent-moon cyclone droplet first-quarter-moon first-quarter-moon-face fog full-moon full-moon-face glowing-star
  high-voltage last-quarter-moon last-quarter-moon-face meteor milky-way new-moon new-moon-face rainbow
  ringed-planet shooting-star snowflake star sun sun-behind-cloud sun-behind-large-cloud sun-behind-rain-cloud
  sun-behind-small-cloud sun-with-face tornado umbrella-with-rain-drops waning-crescent-moon waning-gibbous-moon
  water-wave waxing-crescent-moon waxing-gibbous-moon wind-face fire globe-showing-americas
  globe-showing-asia-australia globe-showing-europe-africa globe-with-meridians snowman snowman-without-snow`);
const TRAVEL_OBJECT = words(`alarm-clock anchor bellhop-bell brick closed-umbrella compass fuel-pump
  hourglass-done hourglass-not-done luggage mantelpiece-clock oil-drum police-car-light ring-buoy rock seat
  stopwatch thermometer timer-clock umbrella watch wheel wood horizontal-traffic-light vertical-traffic-light
  stop-sign construction barber-pole`);
const SPORT_SIGN = words("club-suit diamond-suit heart-suit spade-suit");
const ZODIAC = words(
  "aquarius aries cancer capricorn gemini leo libra ophiuchus pisces sagittarius scorpio taurus virgo",
);
const LETTER =
  /^(keycap|letter|input|japanese)-|-button-blood-type$|^(atm-sign|circled-m|cl-button|cool-button|free-button|id-button|information|new-button|ng-button|ok-button|p-button|sos-button|up-exclamation-button|vs-button|water-closet|copyright|registered|trade-mark|keycap)$/;
const ARROW =
  /arrow|^(downwards-button|upwards-button|(fast|last|next|play|pause|stop|record|eject|repeat|reverse|shuffle).*-button)$/;
const SHAPE =
  /-(circle|square|square-button|diamond)$|^red-triangle|^diamond-with-a-dot$|^radio-button$/;
const CLOCK = /^(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)-(oclock|thirty)$/;

/** Unicode group, rule on the name, category; the first line that fits decides. */
const RULES: readonly (readonly [group: string, name: RegExp, category: EmojiCategory])[] = [
  ["Smileys & Emotion", ANIMAL_FACE, "animals"],
  ["Smileys & Emotion", /^smiling-face-with-hearts$|heart-eyes/, "faces"],
  ["Smileys & Emotion", HEART, "hearts"],
  ["Smileys & Emotion", MARK, "symbols"],
  ["Smileys & Emotion", /^love-letter$/, "objects"],
  ["Smileys & Emotion", /./, "faces"],
  ["People & Body", SILHOUETTE, "symbols"],
  ["People & Body", PERSON, "people"],
  ["People & Body", BODY, "body"],
  ["People & Body", HAND, "body"],
  ["People & Body", /./, "people"],
  ["Animals & Nature", PLANT, "plants"],
  ["Animals & Nature", TRACE, "objects"],
  ["Animals & Nature", /./, "animals"],
  ["Food & Drink", /^kitchen-knife$/, "objects"],
  ["Food & Drink", /./, "food"],
  ["Travel & Places", CLOCK, "clocks"],
  ["Travel & Places", VEHICLE, "vehicles"],
  ["Travel & Places", SKY, "sky"],
  ["Travel & Places", TRAVEL_OBJECT, "objects"],
  ["Travel & Places", /./, "places"],
  ["Activities", SPORT_SIGN, "shapes"],
  ["Activities", /./, "activities"],
  ["Objects", /./, "objects"],
  ["Symbols", ZODIAC, "zodiac"],
  ["Symbols", LETTER, "letters"],
  ["Symbols", ARROW, "arrows"],
  ["Symbols", SHAPE, "shapes"],
  ["Symbols", /./, "symbols"],
  ["Flags", /./, "flags"],
];

/** Category of an emoji by its Unicode group and CLDR name; undefined for an unknown group. */
export function categoryOf(group: string, name: string): EmojiCategory | undefined {
  return RULES.find(([g, rule]) => g === group && rule.test(name))?.[2];
}

const TONE = /-(medium-)?(light|medium|dark)-skin-tone/;

/** What is removed from a name to reach its concept: tone, direction, hair and gender variants are one concept. */
const VARIANTS: readonly (readonly [RegExp, string])[] = [
  [new RegExp(TONE, "g"), ""],
  [/-facing-right$/, ""],
  [/^(family|couple-with-heart|kiss)-(man|woman|person|boy|girl|adult|child)(-.*)?$/, "$1"],
  [/^(woman-and-man|women|men|two-women|two-men)-holding-hands$/, "people-holding-hands"],
  [/^(man|woman|men|women|person|people)-/, ""],
  [/^(deaf|pregnant|old)-(man|woman|person)$/, "$1-person"],
  [/^older-person$/, "old-person"],
  [/^(merman|mermaid)$/, "merperson"],
];

/** The concept of a CLDR name: `woman-artist-dark-skin-tone` and `artist` are both `artist`. */
export const conceptOf = (name: string): string =>
  VARIANTS.reduce((text, [pattern, by]) => text.replace(pattern, by), name);

/** Smaller is plainer: the plainest picture of a concept is kept. Neutral, then woman, then man; tones last. */
export function plainness(name: string): number {
  const tone = TONE.test(name) ? 8 : 0;
  const direction = name.endsWith("-facing-right") ? 4 : 0;
  const gender = /(^|-)(wo)?m[ae]n(-|$)/.test(name) ? (/(^|-)m[ae]n(-|$)/.test(name) ? 2 : 1) : 0;
  return tone + direction + gender;
}
