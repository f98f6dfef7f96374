//! Names of places that are spelled in more than one way, within English or in the language of the place.

/// Each line holds the spellings of one name.
const SPELLINGS: &str = "\
Kyiv|Kiev
Beijing|Peking
Mumbai|Bombay
Kolkata|Calcutta
Chennai|Madras
Bengaluru|Bangalore
Yangon|Rangoon
Myanmar|Burma
Guangzhou|Canton
Ho Chi Minh City|Saigon
Istanbul|Constantinople
Vienna|Wien
Munich|München|Muenchen
Cologne|Köln|Koeln
Nuremberg|Nürnberg|Nuernberg
Zurich|Zürich|Zuerich
Geneva|Genève|Genf
Rome|Roma
Milan|Milano
Turin|Torino
Florence|Firenze
Venice|Venezia
Naples|Napoli
Prague|Praha
Warsaw|Warszawa
Krakow|Kraków|Cracow
Gdansk|Gdańsk|Danzig
Wroclaw|Wrocław|Breslau
Moscow|Moskva
Saint Petersburg|St. Petersburg|Sankt Peterburg
Kharkiv|Kharkov
Lviv|Lvov|Lwów|Lemberg
Odesa|Odessa
Chernihiv|Chernigov
Dnipro|Dnepr|Dnieper
Chisinau|Chișinău|Kishinev
Bucharest|București
Belgrade|Beograd
Athens|Athina
Thessaloniki|Salonica|Salonika
Copenhagen|København|Kobenhavn
Gothenburg|Göteborg
Helsinki|Helsingfors
Brussels|Bruxelles|Brussel
Antwerp|Antwerpen
Ghent|Gent|Gand
Bruges|Brugge
The Hague|Den Haag
Lisbon|Lisboa
Seville|Sevilla
Basel|Basle|Bâle
Bern|Berne
Lyon|Lyons
Marseille|Marseilles
Cairo|Al Qahirah
Mecca|Makkah
Medina|Madinah
Tehran|Teheran
Kabul|Cabul
Astana|Nur-Sultan
Almaty|Alma-Ata
Bishkek|Frunze
Ashgabat|Ashkhabad
Ulaanbaatar|Ulan Bator
Pyongyang|P'yongyang
Busan|Pusan
Taipei|Taibei
Xian|Xi'an
Nanjing|Nanking
Chongqing|Chungking
Tianjin|Tientsin
Hanoi|Ha Noi
Phnom Penh|Pnom Penh
Dhaka|Dacca
Thiruvananthapuram|Trivandrum
Varanasi|Benares
Harare|Salisbury
Kinshasa|Léopoldville
Czechia|Czech Republic
Eswatini|Swaziland
Ivory Coast|Côte d'Ivoire
Cape Verde|Cabo Verde
East Timor|Timor-Leste
North Macedonia|Macedonia
Turkey|Türkiye
Netherlands|Holland
Iran|Persia
Thailand|Siam
Sri Lanka|Ceylon
Belarus|Byelorussia
Romania|Rumania
Qur'an|Quran|Koran
Muhammad|Mohammed|Mohammad
Gaddafi|Qaddafi|Kadhafi
Tchaikovsky|Chaikovsky|Tschaikowsky
Tolstoy|Tolstoi
Dostoevsky|Dostoyevsky|Dostoevskij
Chekhov|Tchekhov
Hanukkah|Chanukah
Aluminium|Aluminum
Sulfur|Sulphur
Caesium|Cesium";

/// The other spellings of a name.
pub fn spellings(name: &str) -> impl Iterator<Item = &'static str> {
    let is_name = |spelled: &str| spelled.eq_ignore_ascii_case(name) || spelled == name;
    let line = SPELLINGS.lines().find(|line| line.split('|').any(is_name));
    let name = name.to_owned();
    line.into_iter()
        .flat_map(|line| line.split('|'))
        .filter(move |spelled| *spelled != name)
}
