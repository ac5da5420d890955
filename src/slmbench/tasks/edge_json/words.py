"""What the documents of EdgeJSON are about: articles, drugs, messages. {…} in a phrase is filled by `objects.py`."""

from __future__ import annotations

ARTICLES = (
    "desk lamp", "USB-C cable 2 m", '27" monitor', "office chair", "wireless mouse", "A4 paper box",
    "espresso beans 1 kg", "steel bottle", "yoga mat", "backpack 30 l", "laptop stand", "HDMI adapter", "garden hose",
    "work gloves", "tool set", "wool blanket", 'drill bit 1/4"', "water filter", "bike light", "notebook A5",
    "ink cartridge", "phone case", "ceramic mug", "rain jacket", "LED strip", "power bank", "desk mat", "wall clock",
    "door mat", "safety helmet", "ethernet switch", "label printer", "toner black", "whiteboard", "coat rack",
    "extension cord", "soldering iron",
)  # fmt: skip
SERVICES_SOLD = (
    "consulting", "website redesign", "server maintenance", "translation EN-DE", "logo design", "data migration",
    "security audit", "on-site training", "photo shoot", "floor cleaning", "network cabling", "text editing",
    "hosting fee", "machine rental", "app testing", "legal review", "roof inspection", "catering", "transport",
    "interior painting",
)  # fmt: skip
DRUGS = (
    ("ibuprofen", (200, 400, 600)), ("amoxicillin", (250, 500, 875)), ("metformin", (500, 850, 1000)),
    ("lisinopril", (5, 10, 20)), ("atorvastatin", (10, 20, 40)), ("omeprazole", (20, 40)), ("ramipril", (2.5, 5, 10)),
    ("bisoprolol", (1.25, 2.5, 5)), ("paracetamol", (500, 1000)), ("cetirizine", (5, 10)),
    ("levothyroxine", (0.05, 0.1)), ("prednisolone", (5, 20)), ("sertraline", (25, 50, 100)),
    ("doxycycline", (100, 200)), ("naproxen", (250, 500)),
)  # fmt: skip
LIQUIDS = (
    ("lactulose", "ml", (10, 15, 20)), ("vitamin D", "IU", (800, 1000, 2000)),
    ("insulin glargine", "IU", (10, 14, 22)),
)  # fmt: skip
ALLERGIES = ("penicillin", "latex", "peanuts", "aspirin", "pollen", "iodine", "sulfa drugs", "bee venom", "lactose")
DIAGNOSES = (
    ("J18.9", "pneumonia"), ("I10", "essential hypertension"), ("E11.9", "type 2 diabetes"),
    ("K35.8", "acute appendicitis"), ("S52.5", "fracture of the distal radius"),
    ("I48.0", "paroxysmal atrial fibrillation"), ("N20.0", "kidney stone"), ("K80.2", "gallstones"),
    ("J45.9", "asthma"), ("M51.2", "lumbar disc prolapse"), ("D50.9", "iron deficiency anaemia"),
    ("G43.9", "migraine"), ("A46", "erysipelas"), ("I50.1", "left heart failure"), ("K29.7", "gastritis"),
)  # fmt: skip
WARDS = (
    "Cardiology", "Surgery 2", "Internal Medicine", "Orthopaedics", "Neurology", "Ward 4B", "Urology", "Pulmonology",
)  # fmt: skip
LOG_SERVICES = (
    "auth-api", "billing", "mail-relay", "search", "cart-service", "image-worker", "gateway", "report-job", "user-db",
    "scheduler", "payments", "cdn-edge", "notifier", "inventory", "session-store", "webhook-out", "etl-nightly",
)  # fmt: skip
MESSAGES = (
    "connection to {host} timed out", "retrying request {n}", 'user "{user}" not found', "disk {disk} almost full",
    r'cannot open "C:\data\{file}"', "cache miss for key {key}", "token of {user} expired",
    r"path D:\jobs\{file} is locked", "{n} rows written to {table}", "queue {key} is empty",
    "health check of {host} failed", "config reloaded from {file}", 'unexpected token "{key}" in {file}',
    "session of {user} closed", "slow query on {table}", "backup of {table} done",
    "certificate of {host} expires soon", "job {key} skipped", r"login as CORP\{user} refused", "lost link to {host}",
)  # fmt: skip
MESSAGE_TAILS = ("will try again later", "giving up", "see the manual", "no action needed", "asking the standby host")
HOSTS = ("db-1", "db-3", "cache-2", "edge-fra", "node-17", "mail-a", "ldap", "s3-west", "proxy-5", "queue-1")
USERS = ("akim", "jdoe", "mrossi", "lnovak", "tberg", "cwong", "psilva", "hmeyer", "droy", "sfox")
FILES = ("jobs.csv", "users.json", "main.yaml", "import.xml", "rates.txt", "notes.md", "orders.csv", "keys.pem")
KEYS = ("daily", "price", "lang", "cart", "theme", "export", "resize", "digest", "quota", "geo")
TABLES = ("orders", "users", "stock", "visits", "invoices", "events", "audit")
DISKS = ("sda1", "nvme0", "/var", "/home", "E:")
PROBLEMS = (
    "cannot log in to the portal", 'printer shows "paper jam"', "VPN drops every hour", "invoice PDF is empty",
    "password reset mail never arrives", "screen flickers after update", "app crashes on start",
    "wrong VAT on receipt", "calendar does not sync", "slow network in room {n}", "need access to the {table} folder",
    "webcam not found", "mails from {user} go to spam", "export of {table} fails", "licence key rejected",
    r"drive P:\shared is missing", "double charge on card", "headset has no sound", "search finds nothing",
    'page shows "error {n}"',
)  # fmt: skip
TICKET_TAGS = (
    "login", "billing", "network", "hardware", "mobile", "vip", "bug", "refund", "printing", "mail", "urgent-call",
)  # fmt: skip
MEETINGS = (
    "Budget review", "Team lunch", "Sprint planning", "Board meeting", "Dentist appointment", "Parent evening",
    'Talk "Green IT"', "Piano lesson", "Site inspection", "Job interview", "Book club", "Fire drill",
    "Project kick-off", "Yearly check-up", "Wine tasting", "Product demo", "Choir rehearsal", "Design workshop",
    "Farewell party", "Quiz night",
)  # fmt: skip
ROOMS = (
    "Room {n}", "the canteen", "Meeting room Oslo", "the library", "Hall {letter}", "Café Central", "the main office",
)  # fmt: skip
EVENTS = (
    "Jazz Night", "Tech Summit", "Spring Gala", "Food Festival", "Startup Pitch Day", "Poetry Slam",
    "Data Conference", 'Opera "Carmen"', "Charity Run", "Film Premiere", "Craft Fair", "Chess Open", "Photo Expo",
    "Dance Marathon", "Science Fair", "Book Launch", "Folk Concert", "Health Forum", "Career Day", "Vintage Market",
)  # fmt: skip
VENUES = (
    "Stadthalle", "Grand Theatre", "Old Mill", "City Arena", "Harbour Club", "Palais Royal", "Congress Centre",
    "Casa Verde",
)  # fmt: skip
EVENT_TAGS = (
    "music", "family", "free entry", "outdoor", "networking", "food", "art", "sports", "tech", "charity", "kids",
)  # fmt: skip
CARRIERS = ("DHL", "UPS", "FedEx", "DPD", "GLS", "Royal Mail", "PostNord", "Hermes")
SHOPS = (
    "Blue Bottle Coffee", "Rewe City", "Tesco Express", "Joe's Diner", "Librería Sol", "Café Müller",
    "Shell Station 24", "Green Grocer", "Apotheke am Markt", "Pizzeria Da Nino", "BookNook", "City Cinema",
    "Hotel Astoria", "Bikes and Parts", "Zara Home", "O'Malley's Pub", "Boulangerie Petit", "Metro Tickets",
    "Sushi Ko", "Garden World",
)  # fmt: skip
BANKS = ("Nordbank", "Banco del Sol", "First Union", "Crédit Rhône", "Sparkasse Süd", "Bank Polski", "Lloyd Trust")
REFERENCES = (
    "rent {month}", "invoice {n}", "donation", "club fee {month}", "deposit flat 4", "thanks for dinner",
    "refund order {n}", 'gift "for Mia"', "car repair", "school trip", "tax advance", "loan instalment {n}",
    "piano lessons {month}",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
ROLES = (
    "accountant", "data analyst", "head of sales", "nurse", "project manager", "warehouse lead", "UX designer",
    "electrician", "HR partner", "software engineer", "receptionist", "lab technician", "buyer", "team assistant",
    "quality inspector",
)  # fmt: skip
SITES = (
    "North Pier", "Hilltop Farm", "Old Airport", "City Park", "Building {n}", "Lake Station", "Roof East",
    "Warehouse {letter}", "Plant {n}", "Vineyard South", "Harbour Gate", "Town Hall", "School Yard",
    "Cold Store {letter}",
)  # fmt: skip
INCIDENTS = (
    "checkout page down", "mail delivery delayed", "login loop in the app", "database failover", "slow image loading",
    "payment provider unreachable", "wrong prices shown", "search index corrupted", "expired certificate",
    "full disk on {host}", 'users see "access denied"', "lost webhooks", "DNS misconfigured", "reports missing",
)  # fmt: skip
TIMELINE = (
    "first alert received", "on-call engineer paged", "traffic moved to standby", "bad release rolled back",
    "cause found", "{host} restarted", "cache cleared", "vendor contacted", "error rate back to normal",
    "status page updated", "queue drained", "config fixed",
)  # fmt: skip
TASKS = (
    "add an alert for {host}", "write the post-mortem", "renew the certificate", "raise the disk quota",
    "update the runbook", "test the failover", "clean up old logs", "call the vendor", "review the retry limits",
    "add a load test",
)  # fmt: skip
ALERTS = (
    "low battery", "weak signal", "door left open", "firmware outdated", "humidity too high", "camera blocked",
    "power surge",
)  # fmt: skip
SSIDS = ("plant-net", "Office-5G", "shopfloor", "guest-2", "farm-iot", "hq-sensors", "Lab_WLAN", "depot")
CITIES = (
    "Oslo", "Lisbon", "Zürich", "Prague", "Dublin", "Porto", "Málaga", "Vienna", "Tallinn", "Athens", "Kraków",
    "Nice",
)  # fmt: skip
BOOKS = (
    "The Long Winter", "Emma", "Gravity's Edge", "A Room of One's Own", "Der Zauberberg", "Cien años de soledad",
    "The Silent Sea", "Dune", "Blindness", "North and South", 'The "Perfect" Crime', "Middlemarch", "Solaris",
    "Persuasion",
)  # fmt: skip
CARS = (
    "VW Golf", "Toyota Corolla", "Škoda Octavia", "Ford Fiesta", "Renault Zoé", "Volvo V60", "Fiat 500", "Mazda 3",
    "Tesla Model 3",
)  # fmt: skip
COLORS = ("dark blue", "silver", "red", "pearl white", "black", "forest green", "grey", "copper")
DISHES = (
    ("lentil soup", True, (("red lentils", "g"), ("carrots", "pcs"), ("cumin", "tsp"), ("vegetable stock", "ml"))),
    ("beef stew", False, (("beef", "g"), ("potatoes", "pcs"), ("red wine", "ml"), ("paprika", "tsp"))),
    ("crêpes", True, (("flour", "g"), ("milk", "ml"), ("eggs", "pcs"), ("sugar", "tbsp"))),
    ("chicken curry", False, (("chicken", "g"), ("coconut milk", "ml"), ("curry paste", "tbsp"), ("onions", "pcs"))),
    ("apple crumble", True, (("apples", "pcs"), ("butter", "g"), ("brown sugar", "tbsp"), ("cinnamon", "tsp"))),
    ("pasta carbonara", False, (("spaghetti", "g"), ("bacon", "g"), ("egg yolks", "pcs"), ("cream", "ml"))),
    ("gazpacho", True, (("tomatoes", "pcs"), ("cucumber", "pcs"), ("olive oil", "tbsp"), ("vinegar", "tsp"))),
    ("fish cakes", False, (("cod", "g"), ("mashed potatoes", "g"), ("breadcrumbs", "tbsp"), ("eggs", "pcs"))),
)  # fmt: skip
JOBS = (
    "Data Engineer", "Pastry Chef", "Site Manager", "Nurse", "Backend Developer", "Sales Assistant", "Tax Advisor",
    "Truck Driver",
)  # fmt: skip
SKILLS = (
    "SQL", "Python", "French", "Excel", "forklift licence", "first aid", "Kubernetes", "bookkeeping", "SAP",
    "Spanish",
)  # fmt: skip
PROGRAMS = (
    "Biology BSc", "Computer Science MSc", "Economics BA", "Civil Engineering", "History MA", "Physics BSc", "Law",
)  # fmt: skip
COURSES = (
    ("BIO101", "Cell Biology"), ("CS204", "Algorithms"), ("ECO110", "Microeconomics"), ("MAT150", "Linear Algebra"),
    ("HIS220", "Modern Europe"), ("PHY130", "Optics"), ("LAW201", "Contract Law"), ("CS310", "Compilers"),
    ("STA115", "Statistics"), ("CHE102", "Organic Chemistry"), ("ENG105", "Academic Writing"),
    ("GEO140", "Cartography"),
)  # fmt: skip
