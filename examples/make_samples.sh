#!/bin/sh
# How the dossier files of examples/inbox were invented. The same commands give the same bytes (about four minutes).
set -eu
cd "$(dirname "$0")/.."

provinces_on() { awk -F, -v day="$1" 'NR > 1 && $5 <= day && ($6 == "" || $6 >= day) { print $1 }' warehouse/reference/provinces.csv | LC_ALL=C sort; }

sample() { # province period rows faults seed [sender]
    sender=${6:-$1} name=dossier_$2
    [ "$sender" = "$1" ] || name=dossier_$1_$2
    mkdir -p "examples/inbox/$sender/dossier"
    ndc sample dossier --province "$1" --period "$2" --rows "$3" --faults "$4" --seed "$5" --out "examples/inbox/$sender/dossier/$name.csv"
}

for period in 2025-05 2025-06 2025-07; do
    number=0
    for province in $(provinces_on "$period-01"); do
        number=$((number + 1)) rows=$((26 + number * 11 % 20)) faults=0.03
        [ $((number % 3)) -ne 0 ] || faults=0 # every third file is clean, the others have a line or two to mend
        case $province/$period in
        ca-mau/2025-06) sample "$province" "$period" "$rows" 0.3 "$number" ;;                    # returned: above the tolerance of 5 %
        binh-dinh/2025-06) sample "$province" "$period" "$rows" "$faults" "$number" gia-lai-2025 ;; # late, delivered by its successor
        *) sample "$province" "$period" "$rows" "$faults" "$number" ;;
        esac
    done
done
