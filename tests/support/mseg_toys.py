"""Shared by several tests; taken from labels/test_mseg.py."""

TABLE = """Parent Category|city|city-relabeled|rooms|universal|WordNet 3.1 Synset|Defn (from "WordNet")|town-5|flat-3
vehicle|{Car, Caravan}|car||car|car.n.01|a "motor vehicle|Car|background
human|Rider|bicyclist||bicyclist|||Bicyclist|background
human||motorcyclist||motorcyclist|||Bicyclist|background
furniture|||{coffee table,  table}|table||has a flat top|| Table
furniture|||{cabinet,buffet}|cabinet||||background
nature|Veg. (high)|vegetation||vegetation|||Tree|background
unlabeled|{Ego Car, Out of ROI}||{lamp}|unlabeled||||
"""


def write(tmp_path, text=TABLE):
    path = tmp_path / "table.tsv"
    # as published: tabs, CRLF, and a quotation mark that quotes nothing
    path.write_bytes(text.replace("|", "\t").replace("\n", "\r\n").encode())
    return path
