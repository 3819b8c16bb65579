/**
 * Which emoji each oddly named picture of the fxemoji set is, as `theirName=CLDR-name`; data, no code but the split.
 *
 * Pictures of that set whose name equals a CLDR name without hyphens need no line. Pictures with neither (interface
 * symbols, alternative drawings) are no emoji and are left out: a picture of unknown identity could stand on both
 * sides of the split. Made by comparing Unicode character names, then by looking at the pictures.
 */

const TABLE = `
2hearts=two-hearts acorn=chestnut americasglobe=globe-showing-americas anger=anger-symbol
angry=angry-face anguish=anguished-face antennawithbars=antenna-bars aok=ok-hand
asiaaustraliaglobe=globe-showing-asia-australia astonished=astonished-face aubergine=eggplant
automatedtellermachine=atm-sign backwithleftwardsarrow=back-arrow bactriancamel=two-hump-camel
banknotedollar=dollar-banknote banknoteeuro=euro-banknote banknotepound=pound-banknote
banknoteyen=yen-banknote basketballandhoop=basketball bath=person-taking-bath
beachumbrella=beach-with-umbrella bellcancellation=bell-with-slash bicyclist=person-biking
billiards=pool-8-ball blackclubsuit=club-suit blackdiamondsuit=diamond-suit blackdroplet=droplet
blackheartsuit=red-heart blackpushpin=pushpin blackquestionmark=red-question-mark
blackrightwardsarrow=right-arrow blackrosette=rosette blackscissors=scissors
blackskullcrossbones=skull-and-crossbones blackspadesuit=spade-suit blacktelephone=telephone
blackuniversalrecyclingsymbol=recycling-symbol blonde=person-blond-hair bolt=high-voltage
bookmarktab=bookmark-tabs boot=womans-boot bouquetofflowers=bouquet bow=ribbon
bowing=person-bowing bride=person-with-veil bullhorn=megaphone bullhornwithsoundwaves=loudspeaker
bunny=rabbit-face bunny-ears=people-with-bunny-ears bunnyside=rabbit cat=cat-face catside=cat
cellphone=mobile-phone chartdownwardstrend=chart-decreasing chartupwardstrend=chart-increasing
chartupwardstrendyen=chart-increasing-with-yen chilipepper=hot-pepper chineseflag=flag-china
circledideographaccept=japanese-acceptable-button
circledideographadvantage=japanese-bargain-button
circledideographcongratulation=japanese-congratulations-button
circledideographsecret=japanese-secret-button circledlatincapitalletterm=circled-m
clap=clapping-hands clock12oclock=twelve-oclock clock12thirty=twelve-thirty
clock1oclock=one-oclock clock1thirty=one-thirty clock2oclock=two-oclock clock2thirty=two-thirty
clock3oclock=three-oclock clock3thirty=three-thirty clock4oclock=four-oclock
clock4thirty=four-thirty clock5thirty=five-thirty clock6oclock=six-oclock clock6thirty=six-thirty
clock7oclock=seven-oclock clockwisedownupcircledarrows=clockwise-vertical-arrows
closedmailboxlowered=closed-mailbox-with-lowered-flag
closedmailboxraised=closed-mailbox-with-raised-flag coldsweat=anxious-face-with-sweat
compression=clamp confetti=confetti-ball confounded=confounded-face confused=confused-face
construct=construction-worker construction=building-construction constructionsign=construction
contact=bust-in-silhouette contact2=busts-in-silhouette controlknob=control-knobs
cop=police-officer couple=couple-with-heart couplekiss=kiss crying=crying-face
curryandrice=curry-rice daggerknife=dagger dancer=woman-dancing darksunglasses=sunglasses
dash=dashing-away devilhorns=smiling-face-with-horns diamondshapewithdotinside=diamond-with-a-dot
disappointed=disappointed-face dissapointedrelief=sad-but-relieved-face dog=dog-face dogside=dog
donotlittersymbol=no-littering doubleexclaimationmark=double-exclamation-mark doveofpeace=dove
down=backhand-index-pointing-down downpointingredtriangle=red-triangle-pointed-down
dragonhead=dragon-face dragonside=dragon dromedarycamel=camel earofmaize=ear-of-corn
earofrice=sheaf-of-rice eightspokedasterix=eight-spoked-asterisk electrictorch=flashlight
endwithleftwardsarrow=end-arrow envelopedownarrowabove=envelope-with-arrow
europeafricaglobe=globe-showing-europe-africa europeancastle=castle europeanpostoffice=post-office
evergreen=evergreen-tree exclaimationquestionmark=exclamation-question-mark
expressionless=expressionless-face fallingleaf=fallen-leaf fatherchristmas=santa-claus
faxicon=fax-machine fearful=fearful-face fireworksparkler=sparkler
fishcakeswirl=fish-cake-with-swirl fishingpoleandfish=fishing-pole fistedhand=oncoming-fist
flexbicep=flexed-biceps floppydisk2=floppy-disk flushed=flushed-face
flyingenvelope=incoming-envelope folder=file-folder forkknife=fork-and-knife foxcrying=crying-cat
foxgrin=grinning-cat-with-smiling-eyes foxheart=smiling-cat-with-heart-eyes foxkissing=kissing-cat
foxpouting=pouting-cat foxsmiling=grinning-cat foxtearofjoy=cat-with-tears-of-joy
foxweary=weary-cat foxwry=cat-with-wry-smile framewithpicture=framed-picture
franceflag=flag-france frontfacingchick=front-facing-baby-chick frown=person-frowning
frownmouth=frowning-face-with-open-mouth gem=gem-stone girlgirl=women-holding-hands
girlguy=woman-and-man-holding-hands gma=old-woman golfer=person-golfing gpa=old-man
greatbritainflag=flag-united-kingdom grimacing=grimacing-face grin=grinning-face
grineyes=beaming-face-with-smiling-eyes grinsquint=grinning-squinting-face
grinsweat=grinning-face-with-sweat grintears=face-with-tears-of-joy
grinwide=grinning-face-with-big-eyes grinwideeyes=grinning-face-with-smiling-eyes
guapimao=person-with-skullcap guardsman=guard guyguy=men-holding-hands
haircut=person-getting-haircut halo=smiling-face-with-halo hampster=hamster hand=raised-hand
handheldvideocamera=video-camera hands=open-hands handup=person-raising-hand
headmassage=person-getting-massage heartarrow=heart-with-arrow
hearteyes=smiling-face-with-heart-eyes heartgreen=green-heart heartpurple=purple-heart
heartribbon=heart-with-ribbon heartyellow=yellow-heart
heavyexclaimationmarksymbol=red-exclamation-mark heavylatincross=latin-cross
heavymultiplicationsymbol=multiply heels=high-heeled-shoe high5=raising-hands
highbrightness=bright-button highspeedtrainbulletnose=bullet-train hocho=kitchen-knife
hourglassflowingsand=hourglass-not-done housebuilding=house housebuildings=houses
hundredpointssymbol=hundred-points hushed=hushed-face imp=angry-face-with-horns
index=index-pointing-up informationsource=information
inputsymbolforlatincapitalletters=input-latin-uppercase
inputsymbolforlatinletters=input-latin-letters
inputsymbolforlatinsmallletters=input-latin-lowercase inputsymbolfornumbers=input-numbers
inputsymbolforsymbols=input-symbols italianflag=flag-italy izakayalantern=red-paper-lantern
japaneseangrymask=goblin japanflag=flag-japan keyboard=musical-keyboard
kissclosedeyes=kissing-face-with-closed-eyes kisseyes=kissing-face-with-smiling-eyes
kissing=face-blowing-a-kiss koreaflag=flag-south-korea largebluecircle=blue-circle
largeredcircle=red-circle leaffluttering=leaf-fluttering-in-wind left=backhand-index-pointing-left
leftangerbubble=right-anger-bubble lefthandphone=telephone-receiver
leftmagnifyingglass=magnifying-glass-tilted-left leftthoughtbubble=thought-balloon
leftwardsblackarrow=left-arrow leftwritinghand=writing-hand leopardside=leopard linksymbol=link
lips=mouth lock=locked lockandkey=locked-with-key lockwithinkpen=locked-with-pen
loudlycrying=loudly-crying-face lowbrightness=dim-button lowerleftcrayon=crayon
lowerleftfountainpen=fountain-pen lowerleftpaintbrush=paintbrush lowerleftpen=pen
lowerleftpencil=pencil mahjong=mahjong-red-dragon makeupbag=clutch-bag
manltepiececlock=mantelpiece-clock mansshirt=t-shirt medicalmask=face-with-medical-mask
mediumblackcircle=black-circle mediumwhitecircle=white-circle mensrunner=running-shoe
mensshoe=mans-shoe menssymbol=mens-room meridianglobe=globe-with-meridians minidisc=computer-disk
monkeyhear=hear-no-evil-monkey monkeysee=see-no-evil-monkey monkeyspeak=speak-no-evil-monkey
mouse=mouse-face mouseside=mouse moyai=moai multiplemusicalnotes=musical-notes
musicdescend=musical-note negativesquaredab=ab-button-blood-type
negativesquaredcrossmark=cross-mark-button negativesquaredlatincapitalletterp=p-button
negativesquaredlatincaptiala=a-button-blood-type negativesquaredlatincaptialb=b-button-blood-type
negativesquaredlatincaptialo=o-button-blood-type neutral=neutral-face
newmoonwithface=new-moon-face noentrysign=prohibited nogesture=person-gesturing-no
nomouth=face-without-mouth nonpotablewatersymbol=non-potable-water
nooneunder18symbol=no-one-under-eighteen northeastarrow=up-right-arrow
northwestarrow=up-left-arrow nosmokingsymbol=no-smoking
notebookdecorativecover=notebook-with-decorative-cover okgesture=person-gesturing-ok
oldpersonalcomputer=laptop omsymbol=om onarrowleftright=on-exclamation-arrow
onebuttonmouse=computer-mouse openfolder=open-file-folder openlock=unlocked
openmailboxlowered=open-mailbox-with-lowered-flag openmailboxraised=open-mailbox-with-raised-flag
openmouth=face-with-open-mouth opticaldisc=optical-disk outbox=outbox-tray page=page-facing-up
pages=page-with-curl pensive=pensive-face perservere=persevering-face
personalcomputer=desktop-computer phonerightarrowleft=mobile-phone-with-arrow pig=pig-face
pigside=pig pigsnout=pig-nose pinkwallet=purse playingcardblackjoker=joker
policecarsrevolvinglight=police-car-light poo=pile-of-poo potablewatersystem=potable-water
pout=person-pouting pouting=enraged-face pray=folded-hands present=wrapped-gift
printericon=printer putlitterinitsplacesymbol=litter-in-bin-sign racecar=racing-car
raincloud=cloud-with-rain raisedhandpartfingers=vulcan-salute
raisedhandsfingerssplayed=hand-with-fingers-splayed recreationalvehicle=sport-utility-vehicle
relieved=relieved-face reminder=reminder-ribbon reversehandmiddlefinger=middle-finger
right=backhand-index-pointing-right rightmagnifyingglass=magnifying-glass-tilted-right
rightspeechbubble=speech-balloon ringingbell=bell rowboat=person-rowing-boat
running=person-running russianflag=flag-russia saggitarius=sagittarius sakebottleandcup=sake
sandals=womans-sandal schoolsatchel=backpack screamfear=face-screaming-in-fear sheep=ram
silhouetteohjapan=map-of-japan sixpointedstarwithdot=dotted-six-pointed-star skiandskiboot=skis
sleeping=sleeping-face sleepy=sleepy-face sleuthspy=detective sliceofpizza=pizza
smallfrown=slightly-frowning-face smallsmile=slightly-smiling-face
smileeyes=smiling-face-with-smiling-eyes smiletongue=face-savoring-food smirk=smirking-face
smokingsymbol=cigarette snowcloud=cloud-with-snow snowmountains=snow-capped-mountain
soonwithrightarrow=soon-arrow southeastarrow=down-right-arrow spanishflag=flag-spain
speaker=speaker-low-volume speaker3soundwaves=speaker-high-volume
speakercancellation=muted-speaker speakeronesoundwave=speaker-medium-volume
speakingheadinsilhouette=speaking-head spiralcalendarpad=spiral-calendar
spurtingwhale=spouting-whale squaredcl=cl-button squaredcool=cool-button squaredfree=free-button
squaredid=id-button squaredkatakanakoko=japanese-here-button
squaredkatakanasa=japanese-service-charge-button squarednew=new-button squaredng=ng-button
squaredok=ok-button squaredsos=sos-button squaredup=up-exclamation-button squaredvs=vs-button
steamlocomotive=locomotive stormcloud=cloud-with-lightning studiomic=studio-microphone
sunraincloud=sun-behind-rain-cloud sunrays=sun sunsetoverbuildings=sunset surfer=person-surfing
sweat=downcast-face-with-sweat sweatsplash=sweat-droplets swimming=person-swimming ten=keycap-10
tennisball=tennis tie=necktie tiger=tiger-face tigerside=tiger tired=tired-face
tongueout=face-with-tongue tongueoutwink=winking-face-with-tongue topwithupwardsarrow=top-arrow
toykotower=tokyo-tower triangularflagonpost=triangular-flag triumph=face-with-steam-from-nose
turban=person-wearing-turban twistedrightwardsarrows=shuffle-tracks-button unamused=unamused-face
up=backhand-index-pointing-up uppointingredtriangle=red-triangle-pointed-up
videocasette=videocassette waitress=person-tipping-hand walking=person-walking
waningbibbousmoon=waning-gibbous-moon warningsign=warning wave=water-wave waving=waving-hand
weary=weary-face weightlifter=person-lifting-weights whiteexclaimationmark=white-exclamation-mark
whitesmilingface=smiling-face whitesunbehindcloud=sun-behind-large-cloud
whitesunsmallcloud=sun-behind-small-cloud winking=winking-face wiredkeyboard=keyboard
womansshirt=womans-clothes womenssymbol=womens-room worried=worried-face
`;

/** fxemoji icon name to CLDR short name in kebab case. */
export const FXEMOJI_NAMES: ReadonlyMap<string, string> = new Map(
  TABLE.trim()
    .split(/\s+/)
    .map((pair) => pair.split("=") as [string, string]),
);
